/* VF_NAME(f): f with the suffix of the vector layer included before (f_avx2), and _simde after it when a test compiles
 * the file a second time on emulated intrinsics. */
#ifndef PARE_KERNELS_CPU_ELTWISE_VF_NAME_H
#define PARE_KERNELS_CPU_ELTWISE_VF_NAME_H

#ifdef PARE_SIMDE
#define VF_CAT2(a, b) a##_##b##_simde
#else
#define VF_CAT2(a, b) a##_##b
#endif
#define VF_CAT(a, b) VF_CAT2(a, b)
#define VF_NAME(f)   VF_CAT(f, VF_ISA)

#endif
