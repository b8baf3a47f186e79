#define VF_ISA     avx_vnni
#define DWQ_VNNI   1
#define DWQ_MASKED 0
#define DWQ_DPBUSD _mm256_dpbusd_avx_epi32
#include "kernels/cpu/dwconv/dwq_avx2.h"

#define DWQ_COST 18
#include "kernels/cpu/dwconv/dwconv_u8_body.h"
