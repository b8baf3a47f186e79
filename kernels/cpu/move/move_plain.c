#include "kernels/cpu/move/move.h"
#include "kernels/cpu/move/transpose.h"

TRANSPOSE_SCALAR(8)
TRANSPOSE_SCALAR(16)
TRANSPOSE_SCALAR(32)
TRANSPOSE_SCALAR(64)

const MoveOps move_plain = {.transpose = {transpose_8, transpose_16, transpose_32, transpose_64}};
