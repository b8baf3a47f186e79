/* Symbolic dimensions: hash-consed expressions with local simplification. */
#include "ir/mem.h"
#include "ir/types.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Sym {
    char *name; /* NULL for an expression */
    SymOp op;
    Dim a, b;
} Sym;

struct SymTab {
    Sym *syms;
    int n, cap, fresh;
};

static const char *const op_text[] = {"+", "-", "*", "/", "^/", "%", "max", "min"};
enum { N_OPS = sizeof op_text / sizeof *op_text };

SymTab *symtab_new(void) { return mem_zalloc(sizeof(SymTab)); }

void symtab_free(SymTab *t) {
    if (!t) return;
    for (int i = 0; i < t->n; i++) mem_free(t->syms[i].name);
    mem_free(t->syms);
    mem_free(t);
}

bool symtab_copy(SymTab *to, const SymTab *from) {
    Sym *syms = mem_zalloc((size_t)(from->n + 1) * sizeof *syms);
    if (!syms) return false;
    *to = (SymTab){.syms = syms, .cap = from->n + 1, .fresh = from->fresh};
    for (int i = 0; i < from->n; i++) {
        syms[i] = from->syms[i];
        if (from->syms[i].name && !(syms[i].name = mem_strdup(from->syms[i].name))) return false;
        to->n = i + 1;
    }
    return true;
}

static const Sym *sym_at(const SymTab *t, Dim d) {
    return DIM_IS_SYM(d) && SYM_FIRST - d < t->n ? &t->syms[SYM_FIRST - d] : NULL;
}

static Dim add(SymTab *t, Sym s) {
    if (t->n == t->cap) {
        int cap = t->cap ? 2 * t->cap : 16;
        Sym *p = mem_realloc(t->syms, (size_t)cap * sizeof *p);
        if (!p) return INT64_MIN;
        t->syms = p;
        t->cap = cap;
    }
    t->syms[t->n] = s;
    return SYM_FIRST - t->n++;
}

Dim sym_named(SymTab *t, const char *name) {
    for (int i = 0; i < t->n; i++)
        if (t->syms[i].name && !strcmp(t->syms[i].name, name)) return SYM_FIRST - i;
    char *copy = mem_strdup(name);
    Dim d = copy ? add(t, (Sym){.name = copy}) : INT64_MIN;
    if (d == INT64_MIN) mem_free(copy);
    return d;
}

Dim sym_fresh(SymTab *t) {
    char name[32];
    bool taken = true;
    while (taken) { /* a parsed text may have brought such names along */
        snprintf(name, sizeof name, "?%d", t->fresh++);
        taken = false;
        for (int i = 0; !taken && i < t->n; i++) taken = t->syms[i].name && !strcmp(t->syms[i].name, name);
    }
    return sym_named(t, name);
}

static bool fold(SymOp op, int64_t a, int64_t b, int64_t *r) {
    switch (op) {
    case SYM_ADD:
        return !__builtin_add_overflow(a, b, r);
    case SYM_SUB:
        return !__builtin_sub_overflow(a, b, r);
    case SYM_MUL:
        return !__builtin_mul_overflow(a, b, r);
    case SYM_FLOORDIV:
    case SYM_CEILDIV:
    case SYM_MOD:
        if (b == 0 || (a == INT64_MIN && b == -1)) return false;
        *r = a / b - (a % b && (a ^ b) < 0); /* floor */
        if (op == SYM_MOD) *r = a - *r * b;
        if (op == SYM_CEILDIV) *r += a % b != 0;
        return true;
    case SYM_MAX:
        *r = a > b ? a : b;
        return true;
    case SYM_MIN:
        *r = a < b ? a : b;
        return true;
    }
    return false;
}

/* x op b where x = (p * c) with numbers b and c: (p*c)/b with c % b == 0 becomes p*(c/b). */
static bool cancel(SymTab *t, SymOp op, Dim a, Dim b, Dim *out) {
    const Sym *x = sym_at(t, a);
    if (!x || x->name || DIM_IS_SYM(b) || DIM_IS_SYM(x->b)) return false;
    Dim p = x->a, c = x->b;
    if (x->op == SYM_MUL && b > 0 && c % b == 0) {
        if (op == SYM_FLOORDIV || op == SYM_CEILDIV) return *out = sym_op(t, SYM_MUL, p, c / b), true;
        if (op == SYM_MOD) return *out = 0, true;
    }
    int64_t k;
    if (x->op == SYM_MUL && op == SYM_MUL && fold(SYM_MUL, b, c, &k)) return *out = sym_op(t, SYM_MUL, p, k), true;
    if (x->op == SYM_ADD && (op == SYM_ADD || op == SYM_SUB) && fold(op, c, b, &k))
        return *out = k >= 0 ? sym_op(t, SYM_ADD, p, k) : sym_op(t, SYM_SUB, p, -k), true;
    if (x->op == SYM_SUB && op == SYM_ADD)
        return *out = b >= c ? sym_op(t, SYM_ADD, p, b - c) : sym_op(t, SYM_SUB, p, c - b), true;
    if (x->op == SYM_SUB && op == SYM_SUB && fold(SYM_ADD, c, b, &k)) return *out = sym_op(t, SYM_SUB, p, k), true;
    if (x->op == SYM_FLOORDIV && op == SYM_FLOORDIV && c > 0 && b > 0 && fold(SYM_MUL, b, c, &k))
        return *out = sym_op(t, SYM_FLOORDIV, p, k), true;
    return false;
}

/* a op b where (a * y) / y and (a + y) - y cancel for symbols y. */
static bool cancel_symbols(SymTab *t, SymOp op, Dim a, Dim b, Dim *out) {
    if (a == b && op == SYM_SUB) return *out = 0, true;
    if (a == b && (op == SYM_FLOORDIV || op == SYM_CEILDIV)) return *out = 1, true;
    if (a == b && (op == SYM_MAX || op == SYM_MIN)) return *out = a, true;
    const Sym *x = sym_at(t, a);
    if (!x || x->name) return false;
    if ((x->op == SYM_MUL && (op == SYM_FLOORDIV || op == SYM_CEILDIV)) || (x->op == SYM_ADD && op == SYM_SUB)) {
        if (x->b == b) return *out = x->a, true;
        if (x->a == b) return *out = x->b, true;
    }
    return false;
}

/* Order of symbols that does not depend on which came first, so that printed expressions parse back to themselves:
 * names by strcmp, then expressions by operator and operands. */
static int compare(const SymTab *t, Dim a, Dim b) {
    const Sym *x = sym_at(t, a), *y = sym_at(t, b);
    if (a == b) return 0;
    if (!x || !y) return !x && !y ? (a < b ? -1 : 1) : x ? -1 : 1; /* symbols before numbers */
    if (x->name || y->name) return x->name && y->name ? strcmp(x->name, y->name) : x->name ? -1 : 1;
    if (x->op != y->op) return x->op < y->op ? -1 : 1;
    int first = compare(t, x->a, y->a);
    return first ? first : compare(t, x->b, y->b);
}

Dim sym_op(SymTab *t, SymOp op, Dim a, Dim b) {
    if (a == INT64_MIN || b == INT64_MIN) return INT64_MIN;
    int64_t r;
    if (!DIM_IS_SYM(a) && !DIM_IS_SYM(b)) return fold(op, a, b, &r) && !DIM_IS_SYM(r) ? r : sym_fresh(t);
    bool commutes = op == SYM_ADD || op == SYM_MUL || op == SYM_MAX || op == SYM_MIN;
    if (commutes && compare(t, a, b) > 0) {
        Dim swap = a;
        a = b;
        b = swap;
    }
    if (!DIM_IS_SYM(b)) {
        if (b == 0 && (op == SYM_ADD || op == SYM_SUB || op == SYM_MAX)) return a;
        if (b == 0 && (op == SYM_MUL || op == SYM_MIN)) return 0;
        if (b == 0) return sym_fresh(t);
        if (b == 1 && (op == SYM_MUL || op == SYM_FLOORDIV || op == SYM_CEILDIV)) return a;
        if (b == 1 && op == SYM_MOD) return 0;
    }
    if (a == 0 && (op == SYM_FLOORDIV || op == SYM_CEILDIV || op == SYM_MOD)) return 0;
    Dim out;
    if (cancel(t, op, a, b, &out) || cancel_symbols(t, op, a, b, &out)) return out;
    for (int i = 0; i < t->n; i++) {
        const Sym *s = &t->syms[i];
        if (!s->name && s->op == op && s->a == a && s->b == b) return SYM_FIRST - i;
    }
    return add(t, (Sym){.op = op, .a = a, .b = b});
}

static bool eval(const SymTab *t, Dim d, int64_t (*bind)(void *, const char *), void *ctx, int64_t *r) {
    if (!DIM_IS_SYM(d)) return *r = d, true;
    const Sym *s = sym_at(t, d);
    if (!s) return false;
    if (s->name) return bind && (*r = bind(ctx, s->name)) >= 0;
    int64_t a, b;
    return eval(t, s->a, bind, ctx, &a) && eval(t, s->b, bind, ctx, &b) && fold(s->op, a, b, r);
}

int64_t sym_eval(const SymTab *t, Dim d, int64_t (*bind)(void *, const char *), void *ctx) {
    int64_t r;
    return eval(t, d, bind, ctx, &r) && r >= 0 ? r : -1;
}

Dim sym_substitute(SymTab *t, Dim d, int64_t (*bind)(void *, const char *), void *ctx) {
    const Sym *s = sym_at(t, d);
    if (!s) return d;
    if (s->name) {
        int64_t v = bind ? bind(ctx, s->name) : -1;
        return v >= 0 ? v : d;
    }
    Sym copy = *s; /* the table may move */
    Dim a = sym_substitute(t, copy.a, bind, ctx), b = sym_substitute(t, copy.b, bind, ctx);
    return a == copy.a && b == copy.b ? d : sym_op(t, copy.op, a, b);
}

static int print_at(const SymTab *t, Dim d, char *buf, size_t cap, int at) {
    char *p = (size_t)at < cap ? buf + at : NULL;
    size_t left = p ? cap - (size_t)at : 0;
    const Sym *s = sym_at(t, d);
    if (!s) return at + snprintf(p, left, "%" PRId64, d);
    if (s->name) return at + snprintf(p, left, "%s", s->name);
    at += snprintf(p, left, "(");
    at = print_at(t, s->a, buf, cap, at);
    p = (size_t)at < cap ? buf + at : NULL;
    at += snprintf(p, p ? cap - (size_t)at : 0, " %s ", op_text[s->op]);
    at = print_at(t, s->b, buf, cap, at);
    p = (size_t)at < cap ? buf + at : NULL;
    return at + snprintf(p, p ? cap - (size_t)at : 0, ")");
}

int sym_print(const SymTab *t, Dim d, char *buf, size_t cap) { return print_at(t, d, buf, cap, 0); }

static const char *skip_blanks(const char *s) {
    while (*s == ' ') s++;
    return s;
}

static bool parse_op(const char **s, SymOp *op) {
    int best = -1; /* longest match, so that "^/" and "max" win over nothing shorter */
    for (int i = 0; i < N_OPS; i++) {
        size_t n = strlen(op_text[i]);
        if (!strncmp(*s, op_text[i], n) && (best < 0 || n > strlen(op_text[best]))) best = i;
    }
    if (best < 0) return false;
    *s += strlen(op_text[best]);
    *op = (SymOp)best;
    return true;
}

static bool parse(SymTab *t, const char *s, const char **end, Dim *out, int depth) {
    s = skip_blanks(s);
    if (depth > 64) return false;
    if (isdigit((unsigned char)*s) || (*s == '-' && isdigit((unsigned char)s[1]))) {
        char *stop;
        long long v = strtoll(s, &stop, 10);
        *out = v;
        *end = stop;
        return !DIM_IS_SYM(v) && v < INT64_MAX;
    }
    if (*s == '(') {
        Dim a, b;
        SymOp op;
        if (!parse(t, s + 1, &s, &a, depth + 1)) return false;
        s = skip_blanks(s);
        if (!parse_op(&s, &op) || !parse(t, s, &s, &b, depth + 1)) return false;
        s = skip_blanks(s);
        if (*s != ')') return false;
        *end = s + 1;
        return (*out = sym_op(t, op, a, b)) != INT64_MIN;
    }
    const char *start = s;
    while (*s && !strchr(" ,()[]<>=\n\t", *s)) s++;
    char name[128];
    if (s == start || (size_t)(s - start) >= sizeof name) return false;
    memcpy(name, start, (size_t)(s - start));
    name[s - start] = 0;
    *end = s;
    return (*out = sym_named(t, name)) != INT64_MIN;
}

bool sym_parse(SymTab *t, const char *text, const char **end, Dim *out) { return parse(t, text, end, out, 0); }
