#include "kernels/cpu/families.h"

#include <string.h>

#include "kernels/cpu/families_types.h"

/* Rows of sets that the target architecture can never have are left out. */
#define ROW_PLAIN(family, isa, suffix) {#family, ISA_##isa, &family##_##suffix},
#if PARE_X86_64
#define ROW_X86 ROW_PLAIN
#else
#define ROW_X86(family, isa, suffix)
#endif
#define ROW_AVX2        ROW_X86
#define ROW_AVX_VNNI    ROW_X86
#define ROW_AVX512      ROW_X86
#define ROW_AVX512_VNNI ROW_X86

#define FAMILY(family, type, isa, suffix) extern const type family##_##suffix;
#include "kernels/cpu/families.def"
#undef FAMILY

static const Family ROWS[] = {
#define FAMILY(family, type, isa, suffix) ROW_##isa(family, isa, suffix)
#include "kernels/cpu/families.def"
#undef FAMILY
};

static const Family *rows_in_use = ROWS;
static size_t rows_count = sizeof ROWS / sizeof ROWS[0];

const Family *family_rows(size_t *count) {
    *count = rows_count;
    return rows_in_use;
}

void family_override(const Family *rows, size_t count) {
    rows_in_use = rows ? rows : ROWS;
    rows_count = rows ? count : sizeof ROWS / sizeof ROWS[0];
}

const Family *family_find(const char *family, uint32_t isa_bits) {
    const uint32_t admitted = isa_bits | 1u << ISA_PLAIN;
    const Family *found = NULL;
    for (size_t i = 0; i < rows_count; i++)
        if ((admitted >> rows_in_use[i].isa & 1u) && strcmp(rows_in_use[i].family, family) == 0)
            found = &rows_in_use[i];
    return found;
}
