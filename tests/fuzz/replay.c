/* Runs a fuzz target without libFuzzer: replay PATH... feeds every file below the paths, then seeded mutations of each,
 * so that any build, also under gcc's sanitizers, checks the corpus and its neighbourhood the same way every time.
 * Exits 77 (skipped) when there is no corpus. PARE_TEST_FULL=1 makes a hundred times as many mutations. */
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MUTATIONS = 64, MUTATIONS_FULL = 6400, MAX_EDITS = 8, MAX_OPEN_FOLDERS = 16, SKIPPED = 77 };

static size_t files_seen;

/* xorshift64*: the same mutations on every machine. */
static uint32_t next_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)((*state * UINT64_C(0x2545f4914f6cdd1d)) >> 32);
}

static uint32_t below(uint64_t *state, size_t n) { return n ? next_random(state) % (uint32_t)n : 0; }

/* Flips a bit, sets a byte to a boundary value, copies a range over another, or cuts the end. Returns the new size. */
static size_t edit(uint8_t *data, size_t size, uint64_t *state) {
    static const uint8_t BOUNDARY[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    if (!size) return 0;
    size_t at = below(state, size);
    switch (next_random(state) % 4) {
    case 0:
        data[at] = (uint8_t)(data[at] ^ (1u << next_random(state) % 8));
        return size;
    case 1:
        data[at] = BOUNDARY[below(state, sizeof BOUNDARY)];
        return size;
    case 2: {
        size_t from = below(state, size), room = size - (at > from ? at : from);
        memmove(data + at, data + from, below(state, room + 1));
        return size;
    }
    default:
        return at;
    }
}

/* Each input lies in memory of exactly its size, so that AddressSanitizer sees a read past its end. */
static void feed(const uint8_t *data, size_t size) {
    uint8_t *exact = malloc(size ? size : 1);
    if (!exact) abort();
    if (size) memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static void feed_with_mutations(const uint8_t *data, size_t size) {
    const char *full = getenv("PARE_TEST_FULL");
    int mutations = full && !strcmp(full, "1") ? MUTATIONS_FULL : MUTATIONS;
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) abort();
    feed(data, size);
    for (int i = 0; i < mutations; i++) {
        uint64_t state = UINT64_C(0x9e3779b97f4a7c15) * (uint64_t)(i + 1);
        size_t left = size;
        if (size) memcpy(copy, data, size);
        for (uint32_t edits = 1 + below(&state, MAX_EDITS); edits > 0; edits--) left = edit(copy, left, &state);
        feed(copy, left);
    }
    free(copy);
}

static int visit(const char *path, const struct stat *info, int type, struct FTW *place) {
    (void)place;
    if (type != FTW_F) return 0;
    size_t size = (size_t)info->st_size;
    uint8_t *data = malloc(size + 1);
    FILE *file = fopen(path, "rb");
    if (!data || !file || fread(data, 1, size, file) != size) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(1);
    }
    fclose(file);
    printf("%s\n", path);
    fflush(stdout); /* names the input that a crash is due to */
    feed_with_mutations(data, size);
    free(data);
    files_seen++;
    return 0;
}

int main(int argc, char **argv) {
    feed(NULL, 0);
    for (int i = 1; i < argc; i++) nftw(argv[i], visit, MAX_OPEN_FOLDERS, FTW_PHYS);
    if (files_seen) return 0;
    fprintf(stderr, "no corpus at %s\n", argc > 1 ? argv[1] : "(no path given)");
    return SKIPPED;
}
