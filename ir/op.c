#include "ir/op.h"

#include <string.h>

static const OpDef table[] = {
#define OP(domain, name, since, attrs, min_in, max_in, min_out, max_out, infer, eval, flags)                           \
    {domain, #name, since, attrs, min_in, max_in, min_out, max_out, infer, eval, flags},
#include "ir/ops.def"
#undef OP
};
enum { N_OPS = sizeof table / sizeof *table };

int op_count(void) { return N_OPS; }
const OpDef *op_at(int i) { return i >= 0 && i < N_OPS ? &table[i] : NULL; }

const OpDef *op_find(const char *domain, const char *name) {
    if (!strcmp(domain, "ai.onnx")) domain = "";
    for (int i = 0; i < N_OPS; i++)
        if (!strcmp(table[i].name, name) && !strcmp(table[i].domain, domain)) return &table[i];
    return NULL;
}

bool op_is(const Node *n, const char *name) { return !n->op->domain[0] && !strcmp(n->op->name, name); }
bool op_is_pare(const Node *n, const char *name) {
    return !strcmp(n->op->domain, "pare") && !strcmp(n->op->name, name);
}

char op_attr_kind(const OpDef *op, const char *name, size_t *deflt_len, const char **deflt) {
    size_t len = strlen(name);
    for (const char *p = op->attrs; *p; p += strspn(p, " ")) {
        size_t word = strcspn(p, " ");
        if (word > len + 1 && p[len] == ':' && !memcmp(p, name, len)) {
            bool has_default = word > len + 2 && p[len + 2] == '=';
            if (deflt) *deflt = has_default ? p + len + 3 : NULL;
            if (deflt_len) *deflt_len = has_default ? word - len - 3 : 0;
            return p[len + 1];
        }
        p += word;
    }
    return 0;
}
