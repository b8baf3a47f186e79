#include "calib/rng.h"

static uint64_t split_mix(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void rng_seed(Rng *r, uint64_t seed, uint64_t stream) {
    uint64_t mix = stream;
    uint64_t state = seed ^ split_mix(&mix);
    for (int i = 0; i < 4; i++) r->s[i] = split_mix(&state);
}

static uint64_t rotate_left(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

uint64_t rng_next(Rng *r) {
    uint64_t *s = r->s, result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t rng_below(Rng *r, uint64_t n) {
    if (n == 0) return 0;
    unsigned __int128 m = (unsigned __int128)rng_next(r) * n;
    if ((uint64_t)m < n) {
        uint64_t threshold = -n % n;
        while ((uint64_t)m < threshold) m = (unsigned __int128)rng_next(r) * n;
    }
    return (uint64_t)(m >> 64);
}

double rng_unit(Rng *r) { return (double)(rng_next(r) >> 11) * 0x1p-53; }

double rng_normal(Rng *r) {
    /* 32-bit halves: six draws make twelve numbers, summed as integers. */
    uint64_t sum = 0;
    for (int i = 0; i < 6; i++) {
        uint64_t x = rng_next(r);
        sum += (x >> 32) + (x & 0xffffffffu);
    }
    return ((double)sum + 6) * 0x1p-32 - 6;
}

void rng_choose(Rng *r, int64_t n, int64_t k, int64_t *out) {
    int64_t taken = 0;
    for (int64_t i = 0; i < n && taken < k; i++)
        if (rng_below(r, (uint64_t)(n - i)) < (uint64_t)(k - taken)) out[taken++] = i;
}
