/* Compiled models: .pare files.
 *
 *   header    "PAREMDL\n", version u32, number of sections u32, then 64 bytes a section:
 *             name[24], offset u64, bytes u64, checksum u64 (XXH3, 64 bits), 16 bytes 0      (little-endian)
 *   sections  64-byte aligned: "manifest" (JSON), "graph" (text form of ir/op.h), "weights" (constants, 64-byte
 * aligned)
 *
 * The graph is optimized and has its integer ops explicit; weights are in neutral form, so that any CPU and any shape
 * can be planned from it. The file is mapped; weights are not copied. */
#ifndef PARE_FRONTEND_ARTIFACT_H
#define PARE_FRONTEND_ARTIFACT_H

#include "ir/graph.h"
#include "ir/hash.h"

typedef struct Artifact {
    Graph *graph;
    char *manifest; /* JSON text, NUL-terminated */
    uint64_t bytes;
    char sha256[SHA256_HEX];
} Artifact;

/* Whether the file begins like an artifact. STATUS_ENVIRONMENT when it cannot be read. */
PARE_NODISCARD Status artifact_probe(const char *path, bool *is_artifact);
/* STATUS_INVALID naming the damaged section; STATUS_UNSUPPORTED for a newer version. `graph` is the caller's. */
PARE_NODISCARD Status artifact_open(const char *path, Artifact *a);
void artifact_close(Artifact *a);
/* Same graph and manifest, same bytes; the file appears whole or not at all. */
PARE_NODISCARD Status artifact_save(const Graph *g, const char *manifest, const char *path);

#endif
