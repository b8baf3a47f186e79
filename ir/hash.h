/* SHA-256, for the hashes of files and data in manifests and reports. */
#ifndef PARE_IR_HASH_H
#define PARE_IR_HASH_H

#include "ir/status.h"

#include <stddef.h>

enum { SHA256_HEX = 65 }; /* 64 hexadecimal digits and a NUL */

/* A running hash; NULL when memory is short. Belongs to one thread. */
typedef struct Sha256 Sha256;
Sha256 *sha256_new(void);
void sha256_add(Sha256 *h, const void *data, size_t n);
/* Writes the digest in lower case and frees h. */
void sha256_finish(Sha256 *h, char hex[SHA256_HEX]);
/* Of one run of bytes. */
PARE_NODISCARD Status sha256_bytes(const void *data, size_t n, char hex[SHA256_HEX]);

#endif
