#define VF_ISA     avx2
#define DWQ_VNNI   0
#define DWQ_MASKED 0
#include "kernels/cpu/dwconv/dwq_avx2.h"

#define DWQ_COST 36
#include "kernels/cpu/dwconv/dwconv_u8_body.h"
