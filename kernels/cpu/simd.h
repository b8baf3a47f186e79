/* The vector intrinsics for kernel files: <immintrin.h>, or SIMDe's emulation when a test compiles a kernel file a
 * second time (-DPARE_SIMDE) to run it on a CPU that lacks its instructions. KERNEL_NAME keeps the two copies apart.
 * Include this, and nothing vendor-specific, in files that use intrinsics. */
#ifndef PARE_KERNELS_CPU_SIMD_H
#define PARE_KERNELS_CPU_SIMD_H

#ifdef PARE_SIMDE
#include "kernels/cpu/simd_emulated.h"
#define KERNEL_NAME(name) name##_simde
#else
#include <immintrin.h>
#define KERNEL_NAME(name) name
#endif

#endif
