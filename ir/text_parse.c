/* The parser of the IR's text form (grammar: ir/text.c). Any bytes give a graph or an error with line and column:
 * nesting, operand counts and the memory that a short text may ask for are bounded. */
#include "ir/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Parser {
    const char *file;
    const char *text; /* NUL-terminated copy in scratch */
    const char *s;    /* next character */
    const char *end;
    Blob *weights;
    Arena *scratch;
    size_t splat_left;
    int depth;
} Parser;

static PARE_NODISCARD PARE_PRINTF(2, 3) Status fail(const Parser *p, const char *fmt, ...) {
    int line = 1, column = 1;
    for (const char *c = p->text; c < p->s; c++) {
        column = *c == '\n' ? 1 : column + 1;
        line += *c == '\n';
    }
    va_list ap;
    va_start(ap, fmt);
    Status st = status_vmake(STATUS_INVALID, fmt, ap);
    va_end(ap);
    return status_context(st, "%s:%d:%d", p->file, line, column);
}

/* ---- tokens ---- */

static void skip(Parser *p) {
    for (; *p->s == ' ' || *p->s == '\t' || *p->s == '\n' || *p->s == '\r' || *p->s == '#'; p->s++)
        if (*p->s == '#')
            while (p->s[1] && p->s[1] != '\n') p->s++;
}

static bool accept(Parser *p, const char *token) {
    skip(p);
    size_t n = strlen(token);
    if (strncmp(p->s, token, n)) return false;
    bool word = token[n - 1] != ':' && text_is_name_char(token[n - 1]);
    if (word && text_is_name_char(p->s[n])) return false;
    p->s += n;
    return true;
}

static Status expect(Parser *p, const char *token) { return accept(p, token) ? NULL : fail(p, "expected '%s'", token); }

static Status parse_word(Parser *p, const char *what, const char **word) {
    skip(p);
    const char *start = p->s;
    while (text_is_name_char(*p->s)) p->s++;
    if (p->s == start) return fail(p, "expected %s", what);
    TRY_ALLOC(*word = arena_strndup(p->scratch, start, (size_t)(p->s - start)));
    return NULL;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

/* A byte written as two lower-case hex digits. */
static bool hex_byte(const char *s, unsigned char *byte) {
    int hi = hex_digit(s[0]), lo = hi < 0 ? -1 : hex_digit(s[1]);
    *byte = (unsigned char)(hi * 16 + lo);
    return lo >= 0;
}

static Status parse_quoted(Parser *p, const char **out, size_t *len) {
    TRY(expect(p, "\""));
    const char *stop = p->s;
    while (*stop && *stop != '"' && *stop != '\n') stop += *stop == '\\' && stop[1] ? 2 : 1;
    if (*stop != '"') return fail(p, "this string has no closing '\"' on its line");
    char *buf = arena_alloc(p->scratch, (size_t)(stop - p->s) + 1);
    TRY_ALLOC(buf);
    size_t n = 0;
    for (; p->s < stop; n++) {
        if (*p->s != '\\') {
            buf[n] = *p->s++;
        } else if (p->s[1] == 'x') {
            unsigned char c;
            if (!hex_byte(p->s + 2, &c)) return fail(p, "expected two lower-case hex digits after \\x");
            buf[n] = (char)c;
            p->s += 4;
        } else {
            buf[n] = p->s[1];
            p->s += 2;
        }
    }
    if (p->s != stop) return fail(p, "broken escape at the end of a string");
    p->s++;
    buf[n] = 0;
    *out = buf;
    *len = n;
    return NULL;
}

static Status parse_quoted_name(Parser *p, const char **out) {
    size_t n;
    TRY(parse_quoted(p, out, &n));
    return strlen(*out) == n ? NULL : fail(p, "a name cannot hold a zero byte");
}

static Status parse_value_name(Parser *p, const char **out) {
    TRY(expect(p, "%"));
    if (*p->s == '"') return parse_quoted_name(p, out);
    if (!text_is_name_char(*p->s)) return fail(p, "expected a value's name after '%%'");
    return parse_word(p, "a name", out);
}

static Status parse_int(Parser *p, int64_t *out) {
    skip(p);
    char *stop;
    errno = 0;
    long long v = strtoll(p->s, &stop, 10);
    if (stop == p->s || errno) return fail(p, "expected a 64-bit integer");
    p->s = stop;
    *out = v;
    return NULL;
}

static Status parse_size(Parser *p, size_t *out) {
    int64_t v;
    TRY(parse_int(p, &v));
    if (v < 0) return fail(p, "expected a number that is not negative");
    *out = (size_t)v;
    return NULL;
}

static Status parse_float(Parser *p, float *out) {
    skip(p);
    char *stop;
    *out = strtof(p->s, &stop);
    if (stop == p->s) return fail(p, "expected a number");
    p->s = stop;
    return NULL;
}

/* ---- types and tensors ---- */

static Status parse_type(Parser *p, Graph *g, Type *t);

static Status parse_inner_type(Parser *p, Graph *g, TypeKind kind, Type *t) {
    if (++p->depth > TEXT_MAX_DEPTH) return fail(p, "types nest deeper than %d", TEXT_MAX_DEPTH);
    Type *inner = arena_alloc(g->arena, sizeof *inner);
    TRY_ALLOC(inner);
    TRY(parse_type(p, g, inner));
    *t = (Type){.kind = kind, .inner = inner};
    p->depth--;
    return expect(p, ")");
}

static Status parse_type(Parser *p, Graph *g, Type *t) {
    *t = (Type){.kind = TYPE_UNKNOWN};
    if (accept(p, "?")) return NULL;
    if (accept(p, "seq(")) return parse_inner_type(p, g, TYPE_SEQUENCE, t);
    if (accept(p, "opt(")) return parse_inner_type(p, g, TYPE_OPTIONAL, t);
    const char *name;
    TRY(parse_word(p, "a type", &name));
    *t = (Type){.kind = TYPE_TENSOR, .elem = elem_from_name(name)};
    if (t->elem == ELEM_UNDEFINED && strcmp(name, elem_name(ELEM_UNDEFINED)))
        return fail(p, "'%s' is no element type", name);
    TRY(expect(p, "["));
    if (accept(p, "...")) {
        t->rank = -1;
        return expect(p, "]");
    }
    if (accept(p, "]")) return NULL;
    do {
        if (t->rank == MAX_RANK) return fail(p, "a tensor has at most %d dimensions", MAX_RANK);
        skip(p);
        Dim d;
        if (!sym_parse(g->syms, p->s, &p->s, &d) || (d < 0 && !DIM_IS_SYM(d))) return fail(p, "expected a dimension");
        t->dims[t->rank++] = d;
    } while (accept(p, ","));
    return expect(p, "]");
}

bool text_parse_element(Tensor *t, int64_t i, const char *s, const char **end) {
    char *stop;
    errno = 0;
    if (t->elem == ELEM_U64) {
        uint64_t u = strtoull(s, &stop, 10);
        memcpy(t->data + (size_t)i * sizeof u, &u, sizeof u);
    } else if (!elem_is_float(t->elem)) {
        tensor_set_i64(t, i, strtoll(s, &stop, 10));
    } else if (t->elem == ELEM_F64) {
        tensor_set_f64(t, i, strtod(s, &stop));
    } else {
        tensor_set_f64(t, i, (double)strtof(s, &stop)); /* once to float32: what the printer checked against */
    }
    *end = stop;
    return stop != s && (elem_is_float(t->elem) || !errno);
}

static Status parse_hex(Parser *p, Tensor *t) {
    skip(p);
    for (size_t i = 0; i < t->bytes; i++, p->s += 2)
        if (!hex_byte(p->s, &t->data[i])) return fail(p, "expected %zu bytes as lower-case hex digits", t->bytes);
    return NULL;
}

static Status parse_elements(Parser *p, Tensor *t, int64_t n) {
    if (accept(p, "hex")) return parse_hex(p, t);
    TRY(expect(p, "{"));
    for (int64_t i = 0; i < n; i++) {
        if (i) TRY(expect(p, ","));
        skip(p);
        if (!text_parse_element(t, i, p->s, &p->s))
            return fail(p, "expected element %" PRId64 " of %" PRId64 " (%s)", i, n, elem_name(t->elem));
    }
    return expect(p, "}");
}

/* Repeats the first element over the whole tensor. */
static Status parse_splat(Parser *p, const Type *type, Tensor *t, int64_t n) {
    size_t bytes, unit = (size_t)elem_bits(type->elem) / 8;
    if (!unit || !elem_bytes(type->elem, n, &bytes) || bytes > p->splat_left)
        return fail(p, "a splat of this size and type is not allowed here");
    p->splat_left -= bytes;
    TRY(tensor_new(t, type->elem, type->rank, type->dims));
    if (!n) return fail(p, "a splat needs at least one element");
    Tensor one = *t;
    one.rank = 0;
    one.bytes = unit;
    TRY(parse_elements(p, &one, 1));
    for (size_t i = unit; i < bytes; i++) t->data[i] = t->data[i - unit];
    return NULL;
}

static Status parse_reference(Parser *p, const Type *type, Tensor *t, size_t bytes) {
    size_t offset, len, end;
    if (!p->weights) return fail(p, "this constant lies in a side file, and none was given");
    TRY(parse_size(p, &offset));
    TRY(expect(p, ":"));
    TRY(parse_size(p, &len));
    if (len != bytes) return fail(p, "the type needs %zu bytes, the reference has %zu", bytes, len);
    if (offset % MEM_ALIGN || !size_add(offset, len, &end) || end > p->weights->size)
        return fail(p, "the reference does not lie %d-byte aligned inside the side file of %zu bytes", MEM_ALIGN,
                    p->weights->size);
    Blob *b = blob_slice(p->weights, offset, len);
    TRY_ALLOC(b);
    Status st = tensor_view(t, type->elem, type->rank, type->dims, b->data);
    if (st)
        blob_unref(b);
    else
        t->blob = b;
    return st;
}

/* The content behind "T =". On failure *t may hold memory, which the caller frees. */
static Status parse_content(Parser *p, const Type *type, Tensor *t) {
    size_t bytes;
    int64_t n = type_count(type);
    ElemType e = type->elem;
    if (n < 0 || !elem_bytes(e, n, &bytes) || e == ELEM_C64 || e == ELEM_C128)
        return fail(p, "a constant needs a numeric type with numbers for all dimensions");
    if (accept(p, "@")) return parse_reference(p, type, t, bytes);
    if (accept(p, "splat")) return parse_splat(p, type, t, n);
    if ((uint64_t)n > (uint64_t)(p->end - p->s))
        return fail(p, "this constant has fewer than its %" PRId64 " elements", n);
    TRY(tensor_new(t, type->elem, type->rank, type->dims));
    return parse_elements(p, t, n);
}

static Status parse_tensor(Parser *p, const Type *type, Tensor *t) {
    *t = (Tensor){0};
    Status st = parse_content(p, type, t);
    if (st) tensor_free(t);
    return st;
}

/* ---- attributes ---- */

static Status parse_graph(Parser *p, Graph *parent, Graph **out);

/* Parses "[item, …]" and stores the items behind one another in scratch memory of `unit` bytes each. */
static Status parse_list(Parser *p, size_t unit, Status (*item)(Parser *, void *), void **items, int64_t *n) {
    TRY(expect(p, "["));
    size_t cap = 0;
    *n = 0;
    *items = NULL;
    if (accept(p, "]")) return NULL;
    do {
        if ((size_t)*n == cap) {
            cap = cap ? 2 * cap : 8;
            void *bigger = arena_array(p->scratch, unit, cap);
            TRY_ALLOC(bigger);
            if (*n) memcpy(bigger, *items, (size_t)*n * unit);
            *items = bigger;
        }
        TRY(item(p, (char *)*items + (size_t)(*n)++ * unit));
    } while (accept(p, ","));
    return expect(p, "]");
}

static Status list_int(Parser *p, void *to) { return parse_int(p, to); }
static Status list_float(Parser *p, void *to) { return parse_float(p, to); }
static Status list_string(Parser *p, void *to) { return parse_quoted_name(p, to); }

static Status parse_attr_type(Parser *p, Graph *g, Type **out) {
    TRY(expect(p, "type"));
    TRY_ALLOC(*out = arena_alloc(g->arena, sizeof **out));
    return parse_type(p, g, *out);
}

static Status parse_attr_tensor(Parser *p, Graph *g, Attr *a) {
    Type type;
    TRY(expect(p, "tensor"));
    TRY(parse_type(p, g, &type));
    TRY(expect(p, "="));
    TRY_ALLOC(a->t = arena_alloc(p->scratch, sizeof *a->t));
    return parse_tensor(p, &type, a->t);
}

static Status parse_attr_value(Parser *p, Graph *g, Attr *a) {
    void *items = NULL;
    switch (a->kind) {
    case ATTR_INT:
        return parse_int(p, &a->i);
    case ATTR_FLOAT:
        return parse_float(p, &a->f);
    case ATTR_STRING: {
        size_t n;
        TRY(parse_quoted(p, &a->s, &n));
        a->n = (int64_t)n;
        return NULL;
    }
    case ATTR_INTS:
        TRY(parse_list(p, sizeof(int64_t), list_int, &items, &a->n));
        a->ints = items;
        return NULL;
    case ATTR_FLOATS:
        TRY(parse_list(p, sizeof(float), list_float, &items, &a->n));
        a->floats = items;
        return NULL;
    case ATTR_STRINGS:
        TRY(parse_list(p, sizeof(char *), list_string, &items, &a->n));
        a->strings = items;
        return NULL;
    case ATTR_TENSOR:
        return parse_attr_tensor(p, g, a);
    case ATTR_GRAPH:
        return parse_graph(p, g, &a->g);
    case ATTR_TYPE: {
        Type *t = NULL;
        TRY(parse_attr_type(p, g, &t));
        a->type = t;
        return NULL;
    }
    }
    return fail(p, "attribute '%s' has an unknown kind", a->name);
}

static Status parse_attr(Parser *p, Graph *g, NodeId id) {
    Attr a = {0};
    TRY(parse_word(p, "an attribute's name", &a.name));
    const OpDef *op = g->nodes[id].op;
    a.kind = (AttrKind)op_attr_kind(op, a.name, NULL, NULL);
    if (!a.kind) return fail(p, "%s has no attribute '%s'; it has: %s", op->name, a.name, op->attrs);
    if (attr_find(&g->nodes[id], a.name)) return fail(p, "attribute '%s' is given twice", a.name);
    TRY(expect(p, "="));
    TRY(parse_attr_value(p, g, &a));
    Status st = attr_set(g, id, &a);
    if (st && a.kind == ATTR_TENSOR) tensor_free(a.t);
    if (st && a.kind == ATTR_GRAPH) graph_free(a.g);
    return st;
}

/* ---- values, nodes, graphs ---- */

static Status parse_definition(Parser *p, Graph *g, const char **name, Type *type) {
    TRY(parse_value_name(p, name));
    if (graph_find_value(g, *name) != NO_ID) return fail(p, "value '%s' is defined twice", *name);
    TRY(expect(p, ":"));
    return parse_type(p, g, type);
}

static Status parse_operand(Parser *p, Graph *g, bool optional, ValueId *out) {
    const char *name;
    *out = NO_ID;
    if (optional && accept(p, "_")) return NULL;
    TRY(parse_value_name(p, &name));
    *out = graph_find_value(g, name);
    return *out == NO_ID ? fail(p, "value '%s' is not defined above", name) : NULL;
}

/* A growing list of ids in scratch memory. */
typedef struct Ids {
    ValueId *v;
    int n, cap;
} Ids;

static Status ids_add(Parser *p, Ids *ids, ValueId v) {
    if (ids->n == TEXT_MAX_OPERANDS) return fail(p, "more than %d operands", TEXT_MAX_OPERANDS);
    if (ids->n == ids->cap) {
        int cap = ids->cap ? 2 * ids->cap : 8;
        ValueId *bigger = ARENA_ARRAY(p->scratch, ValueId, cap);
        TRY_ALLOC(bigger);
        if (ids->n) memcpy(bigger, ids->v, (size_t)ids->n * sizeof *bigger);
        ids->v = bigger;
        ids->cap = cap;
    }
    ids->v[ids->n++] = v;
    return NULL;
}

static Status parse_operands(Parser *p, Graph *g, bool optional, Ids *ids) {
    TRY(expect(p, "("));
    if (accept(p, ")")) return NULL;
    do {
        ValueId v;
        TRY(parse_operand(p, g, optional, &v));
        TRY(ids_add(p, ids, v));
    } while (accept(p, ","));
    return expect(p, ")");
}

static Status parse_op(Parser *p, const OpDef **op) {
    const char *word;
    TRY(parse_word(p, "an op", &word));
    const char *dot = strrchr(word, '.');
    const char *domain = dot ? arena_strndup(p->scratch, word, (size_t)(dot - word)) : "";
    TRY_ALLOC(domain);
    *op = op_find(domain, dot ? dot + 1 : word);
    return *op ? NULL : fail(p, "there is no op '%s'", word);
}

static Status check_arity(const Parser *p, const OpDef *op, const char *what, int n, int min, int max) {
    if (n >= min && (n <= max || max == OP_MANY)) return NULL;
    return fail(p, "%s takes %d to %d %s, found %d", op->name, min, max, what, n);
}

static Status parse_node(Parser *p, Graph *g) {
    Ids out = {0}, in = {0}, captures = {0};
    const char *name;
    do {
        Type type;
        ValueId v;
        TRY(parse_definition(p, g, &name, &type));
        TRY(graph_add_value(g, name, &type, &v));
        TRY(ids_add(p, &out, v));
    } while (accept(p, ","));
    TRY(expect(p, "="));
    const OpDef *op;
    TRY(parse_op(p, &op));
    skip(p);
    name = g->values[out.v[0]].name;
    if (*p->s == '"') TRY(parse_quoted_name(p, &name));
    if (graph_find_node(g, name) != NO_ID) return fail(p, "node '%s' is defined twice", name);
    TRY(parse_operands(p, g, true, &in));
    TRY(check_arity(p, op, "inputs", in.n, op->min_in, op->max_in));
    TRY(check_arity(p, op, "outputs", out.n, op->min_out, op->max_out));
    if (accept(p, "captures")) TRY(parse_operands(p, g, false, &captures));
    for (int i = 0; i < in.n; i++)
        for (int j = 0; j < out.n && in.v[i] != NO_ID; j++)
            if (in.v[i] == out.v[j]) return fail(p, "node '%s' reads its own output", name);
    NodeId id;
    TRY(graph_add_node(g, op, name, in.n, in.v, out.n, out.v, &id));
    for (int i = 0; i < captures.n; i++) {
        uint32_t slot;
        TRY(graph_node_add_capture(g, id, captures.v[i], &slot));
    }
    if (!accept(p, "{")) return NULL;
    do TRY(parse_attr(p, g, id));
    while (accept(p, ","));
    return expect(p, "}");
}

static Status parse_capture(Parser *p, Graph *g) {
    size_t slot;
    const char *name;
    Type type;
    ValueId v;
    if (!g->parent) return fail(p, "only a subgraph can capture");
    TRY(parse_size(p, &slot));
    if (slot > TEXT_MAX_OPERANDS) return fail(p, "slot %zu is out of range", slot);
    TRY(parse_definition(p, g, &name, &type));
    return graph_add_capture(g, (uint32_t)slot, name, &type, &v);
}

static Status parse_input(Parser *p, Graph *g) {
    const char *name;
    Type type;
    ValueId v;
    TRY(parse_definition(p, g, &name, &type));
    return graph_add_input(g, name, &type, &v);
}

static Status parse_constant(Parser *p, Graph *g) {
    const char *name;
    Type type;
    Tensor t;
    ValueId v;
    TRY(parse_definition(p, g, &name, &type));
    TRY(expect(p, "="));
    TRY(parse_tensor(p, &type, &t));
    return graph_add_constant(g, name, t, &v);
}

static Status parse_output(Parser *p, Graph *g) {
    ValueId v;
    TRY(parse_operand(p, g, false, &v));
    return graph_add_output(g, v);
}

static Status parse_statements(Parser *p, Graph *g) {
    static const struct {
        const char *word;
        Status (*parse)(Parser *, Graph *);
    } statements[] = {
        {"capture", parse_capture}, {"input", parse_input}, {"const", parse_constant}, {"output", parse_output}};
    enum { N = sizeof statements / sizeof *statements };
    while (!accept(p, "}")) {
        int i = 0;
        while (i < N && !accept(p, statements[i].word)) i++;
        if (i < N)
            TRY(statements[i].parse(p, g));
        else if (*p->s == '%')
            TRY(parse_node(p, g));
        else
            return fail(p, "expected input, const, capture, output, a node (%%value = …) or '}'");
    }
    return NULL;
}

static Status parse_graph(Parser *p, Graph *parent, Graph **out) {
    const char *name;
    int64_t opset;
    if (++p->depth > TEXT_MAX_DEPTH) return fail(p, "graphs nest deeper than %d", TEXT_MAX_DEPTH);
    TRY(expect(p, "graph"));
    TRY(parse_quoted_name(p, &name));
    TRY(expect(p, "opset"));
    TRY(parse_int(p, &opset));
    if (opset < 0 || opset > INT32_MAX) return fail(p, "opset %" PRId64 " is out of range", opset);
    TRY(expect(p, "{"));
    Graph *g;
    TRY(graph_new(parent, name, &g));
    g->opset = (int)opset;
    Status st = parse_statements(p, g);
    if (st) {
        graph_free(g);
        return st;
    }
    p->depth--;
    *out = g;
    return NULL;
}

static Status parse_file(Parser *p, size_t len, Graph **out) {
    if (memchr(p->text, 0, len)) return status_make(STATUS_INVALID, "%s: the text holds a zero byte", p->file);
    TRY(parse_graph(p, NULL, out));
    skip(p);
    if (*p->s) return fail(p, "expected the end of the text");
    Status st = graph_verify(*out);
    Status bad = st ? status_make(STATUS_INVALID, "%s: %s", p->file, status_text(st)) : NULL;
    status_free(st);
    return bad;
}

Status graph_parse(const char *text, size_t len, Blob *weights, const char *file, Graph **out) {
    *out = NULL;
    Parser p = {.file = file ? file : "text", .weights = weights, .splat_left = TEXT_SPLAT_BUDGET};
    TRY_ALLOC(p.scratch = arena_new());
    p.text = arena_strndup(p.scratch, text, len);
    Status st = NULL;
    if (!p.text) {
        st = status_oom();
    } else {
        p.s = p.text;
        p.end = p.text + len;
        st = parse_file(&p, len, out);
    }
    if (st && *out) {
        graph_free(*out);
        *out = NULL;
    }
    arena_free(p.scratch);
    return st;
}
