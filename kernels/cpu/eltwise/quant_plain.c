#include <string.h>

#include "kernels/cpu/eltwise/vf_plain.h"

static void lut_plain(uint8_t *y, const uint8_t *x, size_t n, const uint8_t *lut) {
    for (size_t i = 0; i < n; i++) y[i] = lut[x[i]];
}

#define QUANT_LUT lut_plain
#include "kernels/cpu/eltwise/quant_body.h"
