/* Half the block of dwconv_u8_avx512_vnni.c, for channel counts that would leave much of a block empty. */
#define VF_ISA     narrow_avx512_vnni
#define DWQ_VNNI   1
#define DWQ_DPBUSD _mm256_dpbusd_epi32
#define DWQ_MASKED 1
#include "kernels/cpu/dwconv/dwq_avx2.h"

#define DWQ_COST 15
#include "kernels/cpu/dwconv/dwconv_u8_body.h"
