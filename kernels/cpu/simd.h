/* The vector intrinsics for kernel files: <immintrin.h>, or SIMDe's emulation when a test compiles a kernel file a
 * second time (-DPARE_SIMDE) to run it on a CPU that lacks its instructions. KERNEL_NAME keeps the two copies apart.
 * Include this, and nothing vendor-specific, in files that use intrinsics. */
#ifndef PARE_KERNELS_CPU_SIMD_H
#define PARE_KERNELS_CPU_SIMD_H

#ifdef PARE_SIMDE
#define SIMDE_ENABLE_NATIVE_ALIASES
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>
#pragma GCC diagnostic pop
#define KERNEL_NAME(name) name##_simde
#else
#include <immintrin.h>
#define KERNEL_NAME(name) name
#endif

#endif
