/* Which instruction sets the running CPU (and operating system) offers, and under which names they are reported.
 *
 * Kernels are chosen at run time: one binary holds every variant, and a row of kernels.def may run when
 * isa_has(row.isa). The environment variable PARE_ISA (plain, avx2, avx_vnni, avx512, avx512_vnni, amx) lowers what
 * isa_has() admits, for tests and measurements; it can never raise it. On other architectures than x86-64 only
 * ISA_PLAIN exists.
 *
 * This library depends on nothing but libc and pthreads: it works on raw pointers and knows no graph. */
#ifndef PARE_KERNELS_CPU_ISA_H
#define PARE_KERNELS_CPU_ISA_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__)
#define PARE_X86_64 1
#else
#define PARE_X86_64 0
#endif

/* Ordered from slow to fast; a later set does not imply every earlier one (Zen 4 has AVX512_VNNI but no AVX_VNNI). */
typedef enum Isa {
    ISA_PLAIN,       /* C as the compiler makes it for the base architecture */
    ISA_AVX2,        /* AVX2, FMA and F16C */
    ISA_AVX_VNNI,    /* ISA_AVX2 and the VEX-encoded vpdpbusd */
    ISA_AVX512,      /* AVX-512 F, BW, DQ and VL (with ISA_AVX2) */
    ISA_AVX512_VNNI, /* ISA_AVX512 and vpdpbusd */
    ISA_AVX512_BF16, /* ISA_AVX512 and vdpbf16ps */
    ISA_AMX_BF16,    /* tile registers granted by the system, and tdpbf16ps */
    ISA_AMX_INT8,    /* tile registers granted by the system, and tdpbusd */
    ISA_COUNT
} Isa;

/* True when kernels written for `isa` may run in this process. Thread-safe; the first call asks the CPU. */
bool isa_has(Isa isa);

/* All admitted sets as bits (1u << isa). */
uint32_t isa_mask(void);

/* The fastest admitted set that is one of the levels PARE_ISA can name; for reports and cache keys. */
Isa isa_best(void);

/* "plain", "avx2", "avx_vnni", "avx512", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8". */
const char *isa_name(Isa isa);

/* NULL, or the value of PARE_ISA when it names no level (it is then ignored): the program should tell its user. */
const char *isa_rejected_override(void);

/* Pure function behind isa_has(), for tests: what is left of the sets in `mask` when PARE_ISA is `level`. Returns
 * false, leaving *mask alone, when `level` names none. */
bool isa_lower(const char *level, uint32_t *mask);

/* Floating-point state. Kernels expect round-to-nearest-even with denormals flushed to zero on input and output, so
 * that tiny values cost no microcode assists and all code paths treat them alike. fp_enter() sets this for the calling
 * thread and returns what was there; fp_leave() restores it. Call them once around a run, not around every kernel. */
typedef uint64_t FpState;
FpState fp_enter(void);
void fp_leave(FpState saved);
/* The calling thread's present state, for handing to another thread's fp_leave() (the thread team does so). */
FpState fp_current(void);

#endif
