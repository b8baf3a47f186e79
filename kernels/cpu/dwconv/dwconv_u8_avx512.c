#define VF_ISA   avx512
#define DWQ_VNNI 0
#include "kernels/cpu/dwconv/dwq_avx512.h"

#define DWQ_COST 48
#include "kernels/cpu/dwconv/dwconv_u8_body.h"
