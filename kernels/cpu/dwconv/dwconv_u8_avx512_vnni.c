#define VF_ISA   avx512_vnni
#define DWQ_VNNI 1
#include "kernels/cpu/dwconv/dwq_avx512.h"

#define DWQ_COST 26
#include "kernels/cpu/dwconv/dwconv_u8_body.h"
