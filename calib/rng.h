/* Pseudo-random numbers that are the same on every machine.
 *
 * xoshiro256** of Blackman and Vigna ("Scrambled linear pseudorandom number generators", ACM TOMS 47, 2021), seeded by
 * SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) as its authors recommend. Thread-safety: a Rng belongs to one thread. */
#ifndef PARE_CALIB_RNG_H
#define PARE_CALIB_RNG_H

#include <stdint.h>

typedef struct Rng {
    uint64_t s[4];
} Rng;

/* Two generators of one seed and different `stream` numbers are independent. */
void rng_seed(Rng *r, uint64_t seed, uint64_t stream);
uint64_t rng_next(Rng *r);
/* Uniform in [0, n), without bias (Lemire's rejection, ACM TOMACS 29, 2019); n = 0 gives 0. */
uint64_t rng_below(Rng *r, uint64_t n);
/* Uniform in [0, 1), 53 bits. */
double rng_unit(Rng *r);
/* About standard normal: the sum of 12 uniform numbers less 6 (variance 1, tails end at +-6). Only additions, so that
 * no mathematical library's rounding gets into the values. */
double rng_normal(Rng *r);
/* Chooses k of the numbers 0 … n-1 without replacement (Knuth's algorithm S) into `out`, ascending; k <= n. */
void rng_choose(Rng *r, int64_t n, int64_t k, int64_t *out);

#endif
