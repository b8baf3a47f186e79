/* Any bytes as a calibration cache: an error, or observers that the range choosers take and that print back. */
#include "calib/cache.h"
#include "calib/range.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const CacheKey KEY = {"m", "d"};
    CacheEntry *entries = NULL;
    int n = 0;
    status_free(cache_parse((const char *)data, size, "fuzz.json", &KEY, &entries, &n));
    for (int i = 0; i < n; i++)
        for (Calibrator c = CALIBRATOR_MINMAX; c <= CALIBRATOR_ENTROPY; c++) {
            RangeOptions o = {c, 0, {ELEM_U8, i & 1, false}};
            QuantParams p;
            float lo, hi;
            Status s = range_choose(entries[i].observer, &o, entries[i].name, &lo, &hi);
            if (!s) s = range_params(lo, hi, &o.spec, &p);
            status_free(s);
        }
    Buf text = {0};
    status_free(cache_print(&KEY, entries, n, &text));
    buf_free(&text);
    cache_free(entries, n);
    return 0;
}
