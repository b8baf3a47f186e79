/* Compares two graphs by running both on the reference backend with the same seeded random inputs. */
#ifndef PARE_TESTS_SUPPORT_EQUIV_H
#define PARE_TESTS_SUPPORT_EQUIV_H

#include "ir/op.h"

typedef struct EquivOptions {
    uint64_t seed;
    double tolerance; /* of max |a - b| / max |a| per output (absolute where max |a| < 1) */
    /* Sizes for symbols, "N=2,H=64"; others become `other_dims`. */
    const char *dims;
    int64_t other_dims;
    int64_t max_int; /* integer inputs lie in [0, max_int] */
} EquivOptions;

/* NULL when all outputs agree in name, type and value; else an error that says which does not. *worst (may be NULL)
 * gets the largest difference found. */
PARE_NODISCARD Status equiv_check(const Graph *a, const Graph *b, const EquivOptions *o, double *worst);

/* Seeded content for a tensor: floats roughly normal (|x| < 3), integers in [0, max_int], bool 0/1. */
void equiv_fill(Tensor *t, uint64_t *seed, int64_t max_int);

#endif
