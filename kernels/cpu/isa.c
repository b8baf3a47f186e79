#include "kernels/cpu/isa.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define ISA_BIT(isa) (1u << (isa))

static const char *const NAMES[ISA_COUNT] = {
    [ISA_PLAIN] = "plain",
    [ISA_AVX2] = "avx2",
    [ISA_AVX_VNNI] = "avx_vnni",
    [ISA_AVX512] = "avx512",
    [ISA_AVX512_VNNI] = "avx512_vnni",
    [ISA_AVX512_BF16] = "avx512_bf16",
    [ISA_AMX_BF16] = "amx_bf16",
    [ISA_AMX_INT8] = "amx_int8",
};

/* A level admits the sets of a machine generation, so that PARE_ISA=avx512 behaves like a Skylake server. */
static const struct {
    const char *name;
    uint32_t mask;
} LEVELS[] = {
    {"plain", ISA_BIT(ISA_PLAIN)},
    {"avx2", ISA_BIT(ISA_PLAIN) | ISA_BIT(ISA_AVX2)},
    {"avx_vnni", ISA_BIT(ISA_PLAIN) | ISA_BIT(ISA_AVX2) | ISA_BIT(ISA_AVX_VNNI)},
    {"avx512", ISA_BIT(ISA_PLAIN) | ISA_BIT(ISA_AVX2) | ISA_BIT(ISA_AVX512)},
    {"avx512_vnni",
     ISA_BIT(ISA_PLAIN) | ISA_BIT(ISA_AVX2) | ISA_BIT(ISA_AVX_VNNI) | ISA_BIT(ISA_AVX512) | ISA_BIT(ISA_AVX512_VNNI)},
    {"amx", ISA_BIT(ISA_COUNT) - 1},
};

#if PARE_X86_64

#include <cpuid.h>
#include <immintrin.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { XCR0_AVX = 0x6, XCR0_AVX512 = 0xe6, XCR0_AMX = 0x60000 };

static uint64_t read_xcr0(void) {
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return ((uint64_t)hi << 32) | lo;
}

static bool bit(uint32_t word, int n) { return ((word >> n) & 1u) != 0; }

/* Linux hands out the 8 KiB of tile state only to processes that ask for it. */
static bool amx_permitted(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

/* Bits as in the Intel SDM, volume 2A, CPUID leaves 1 and 7. */
static uint32_t detect(void) {
    uint32_t mask = ISA_BIT(ISA_PLAIN);
    uint32_t a, b, c, d, a1 = 0, b1 = 0, c1 = 0, d1 = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return mask;
    bool fma = bit(c, 12), osxsave = bit(c, 27), avx = bit(c, 28), f16c = bit(c, 29);
    if (!osxsave || !avx || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return mask;
    if (a >= 1) __get_cpuid_count(7, 1, &a1, &b1, &c1, &d1);
    uint64_t xcr0 = read_xcr0();
    if ((xcr0 & XCR0_AVX) != XCR0_AVX || !bit(b, 5) || !fma || !f16c) return mask;
    mask |= ISA_BIT(ISA_AVX2);
    if (bit(a1, 4)) mask |= ISA_BIT(ISA_AVX_VNNI);
    bool avx512 = bit(b, 16) && bit(b, 17) && bit(b, 30) && bit(b, 31);
    if ((xcr0 & XCR0_AVX512) != XCR0_AVX512 || !avx512) return mask;
    mask |= ISA_BIT(ISA_AVX512);
    if (bit(c, 11)) mask |= ISA_BIT(ISA_AVX512_VNNI);
    if (bit(a1, 5)) mask |= ISA_BIT(ISA_AVX512_BF16);
    if ((xcr0 & XCR0_AMX) != XCR0_AMX || !bit(d, 24) || !amx_permitted()) return mask;
    if (bit(d, 22)) mask |= ISA_BIT(ISA_AMX_BF16);
    if (bit(d, 25)) mask |= ISA_BIT(ISA_AMX_INT8);
    return mask;
}

enum { MXCSR_DEFAULT = 0x1f80, MXCSR_DAZ = 0x0040, MXCSR_FTZ = 0x8000 };

FpState fp_current(void) { return _mm_getcsr(); }
void fp_leave(FpState saved) { _mm_setcsr((unsigned)saved); }
static const FpState FP_KERNELS = MXCSR_DEFAULT | MXCSR_DAZ | MXCSR_FTZ;

#else

static uint32_t detect(void) { return ISA_BIT(ISA_PLAIN); }

#if defined(__aarch64__)
FpState fp_current(void) {
    uint64_t v;
    __asm__ volatile("mrs %0, fpcr" : "=r"(v));
    return v;
}
void fp_leave(FpState saved) { __asm__ volatile("msr fpcr, %0" : : "r"(saved)); }
static const FpState FP_KERNELS = 1u << 24; /* FZ; rounding to nearest */
#else
FpState fp_current(void) { return 0; }
void fp_leave(FpState saved) { (void)saved; }
static const FpState FP_KERNELS = 0;
#endif

#endif

FpState fp_enter(void) {
    FpState saved = fp_current();
    fp_leave(FP_KERNELS);
    return saved;
}

bool isa_lower(const char *level, uint32_t *mask) {
    for (size_t i = 0; i < sizeof LEVELS / sizeof LEVELS[0]; i++) {
        if (strcmp(level, LEVELS[i].name) == 0) {
            *mask &= LEVELS[i].mask;
            return true;
        }
    }
    return false;
}

uint32_t isa_mask(void) {
    /* Racing first calls compute the same value, so a relaxed store suffices. */
    static _Atomic uint32_t cached = 0;
    uint32_t mask = atomic_load_explicit(&cached, memory_order_relaxed);
    if (mask == 0) {
        mask = detect();
        const char *level = getenv("PARE_ISA");
        if (level != NULL) (void)isa_lower(level, &mask); /* isa_rejected_override() reports a bad name */
        atomic_store_explicit(&cached, mask, memory_order_relaxed);
    }
    return mask;
}

bool isa_has(Isa isa) { return (isa_mask() & ISA_BIT(isa)) != 0; }

Isa isa_best(void) {
    static const Isa ORDER[] = {ISA_AMX_INT8, ISA_AVX512_VNNI, ISA_AVX512, ISA_AVX_VNNI, ISA_AVX2};
    for (size_t i = 0; i < sizeof ORDER / sizeof ORDER[0]; i++)
        if (isa_has(ORDER[i])) return ORDER[i];
    return ISA_PLAIN;
}

const char *isa_name(Isa isa) { return (unsigned)isa < ISA_COUNT ? NAMES[isa] : "unknown"; }

const char *isa_rejected_override(void) {
    const char *level = getenv("PARE_ISA");
    uint32_t mask = 0;
    return level != NULL && !isa_lower(level, &mask) ? level : NULL;
}
