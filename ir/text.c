/* The printer of the IR's text form.
 *
 *   graph "name" opset 17 {
 *     input %x : float32[N,3,8,8]
 *     const %w : float32[2] = {1.5, -2.0}           up to 32 elements
 *     const %z : float32[64] = splat 0.0            one element repeated
 *     const %W : float32[64,3,7,7] = @0:37632       offset:bytes in the side file, 64-byte aligned
 *     const %n : float32[1] = hex 0100c07f          bytes, for what decimal text cannot say
 *     %y : float32[N,64,2,2] = Conv "node name"(%x, %W, _) {pads=[3, 3, 3, 3]}
 *     %a : T, %b : T = pare.Op(%y)                  domain.Op; the node is named after its first output by default
 *     %c : T = If(%a) captures(%x) {then_branch=graph "t" opset 17 { capture 1 %x : T … }}
 *     output %y
 *   }
 *
 * '_' is an absent input. Names with other characters than letters, digits and _./:-+ are quoted: %"odd name", with
 * \xNN for bytes. Types: elem[dims], elem[...] of unknown rank, seq(T), opt(T), ? unknown. '#' starts a comment. */
#include "ir/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Printer {
    Buf *out, *weights;
    size_t splat_left;
} Printer;

static void print_quoted(Buf *b, const char *s, size_t n) {
    buf_puts(b, "\"");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\')
            buf_printf(b, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            buf_printf(b, "\\x%02x", c);
        else
            buf_append(b, &c, 1);
    }
    buf_puts(b, "\"");
}

static void print_value_name(Buf *b, const char *s) {
    size_t n = strlen(s);
    bool bare = n > 0;
    for (size_t i = 0; i < n; i++) bare = bare && text_is_name_char(s[i]);
    buf_puts(b, "%");
    if (bare)
        buf_puts(b, s);
    else
        print_quoted(b, s, n);
}

static void print_type(Buf *b, const SymTab *syms, const Type *t) {
    if (t->kind == TYPE_SEQUENCE || t->kind == TYPE_OPTIONAL) {
        buf_puts(b, t->kind == TYPE_SEQUENCE ? "seq(" : "opt(");
        if (t->inner)
            print_type(b, syms, t->inner);
        else
            buf_puts(b, "?");
        buf_puts(b, ")");
        return;
    }
    if (t->kind == TYPE_UNKNOWN) {
        buf_puts(b, "?");
        return;
    }
    buf_printf(b, "%s[", elem_name(t->elem));
    if (t->rank < 0) buf_puts(b, "...");
    for (int i = 0; i < t->rank; i++) {
        if (i) buf_puts(b, ",");
        char small[64];
        int n = sym_print(syms, t->dims[i], small, sizeof small);
        if ((size_t)n < sizeof small) {
            buf_puts(b, small);
            continue;
        }
        char *large = mem_alloc((size_t)n + 1);
        if (!large) {
            b->failed = true;
            return;
        }
        sym_print(syms, t->dims[i], large, (size_t)n + 1);
        buf_puts(b, large);
        mem_free(large);
    }
    buf_puts(b, "]");
}

/* Shortest decimal that reads back as v. */
static void format_float(char *s, size_t cap, double v, bool is_double) {
    int n = 0, first = 1;
    double whole = v < 0 ? -v : v;
    for (; whole >= 10 && first < 15; first++) whole /= 10; /* 10.0 rather than 1e+01 */
    for (int digits = first; digits <= 17; digits++) {
        n = snprintf(s, cap, "%.*g", digits, v);
        if (is_double ? strtod(s, NULL) == v : strtof(s, NULL) == (float)v) break;
    }
    if (!strpbrk(s, ".en") && (size_t)n + 3 < cap) memcpy(s + n, ".0", 3);
}

void text_print_element(Buf *b, const Tensor *t, int64_t i) {
    char s[64];
    uint64_t u;
    if (t->elem == ELEM_U64) { /* the accessors end at INT64_MAX */
        memcpy(&u, t->data + (size_t)i * sizeof u, sizeof u);
        snprintf(s, sizeof s, "%" PRIu64, u);
    } else if (!elem_is_float(t->elem)) {
        snprintf(s, sizeof s, "%" PRId64, tensor_get_i64(t, i));
    } else {
        format_float(s, sizeof s, tensor_get_f64(t, i), t->elem == ELEM_F64);
    }
    buf_puts(b, s);
}

/* True when the text of all elements reads back to the same bytes. */
static bool text_is_exact(const char *s, const Tensor *t, int64_t n) {
    Tensor back;
    Status st = tensor_new(&back, t->elem, t->rank, t->dims);
    if (st) {
        status_free(st);
        return false;
    }
    bool ok = true;
    for (int64_t i = 0; ok && i < n; i++) {
        ok = text_parse_element(&back, i, s, &s);
        while (*s == ',' || *s == ' ') s++;
    }
    ok = ok && !memcmp(back.data, t->data, t->bytes);
    tensor_free(&back);
    return ok;
}

static void print_hex(Buf *b, const uint8_t *p, size_t n) {
    buf_puts(b, "hex ");
    for (size_t i = 0; i < n; i++) buf_printf(b, "%02x", p[i]);
}

static void print_inline(Buf *b, const Tensor *t, int64_t n) {
    Buf list = {0};
    for (int64_t i = 0; i < n; i++) {
        if (i) buf_puts(&list, ", ");
        text_print_element(&list, t, i);
    }
    b->failed = b->failed || list.failed;
    if (list.failed) {
        buf_free(&list);
        return;
    }
    if (n && !text_is_exact(list.data, t, n))
        print_hex(b, t->data, t->bytes);
    else
        buf_printf(b, "{%s}", n ? list.data : "");
    buf_free(&list);
}

/* One whole-byte element repeated: every byte equals the one an element before it. */
static bool is_splat(const Tensor *t) {
    size_t e = (size_t)elem_bits(t->elem) / 8;
    return e && t->bytes > e && !memcmp(t->data, t->data + e, t->bytes - e);
}

static void print_reference(Printer *p, const Tensor *t) {
    Buf *w = p->weights;
    if (!w) {
        buf_printf(p->out, "@-:%zu", t->bytes);
        return;
    }
    static const char zeros[MEM_ALIGN];
    buf_append(w, zeros, (MEM_ALIGN - w->len % MEM_ALIGN) % MEM_ALIGN);
    buf_printf(p->out, "@%zu:%zu", w->len, t->bytes);
    buf_append(w, t->data, t->bytes);
}

static bool use_splat(const Printer *p, const Tensor *t, int64_t n) {
    return n >= TEXT_SPLAT_MIN && t->bytes <= TEXT_SPLAT_BYTES && t->bytes <= p->splat_left && is_splat(t);
}

static Status print_tensor(Printer *p, const Tensor *t) {
    if (t->encoding != ENC_DENSE || !elem_bits(t->elem) || t->elem == ELEM_C64 || t->elem == ELEM_C128)
        return status_make(STATUS_UNSUPPORTED, "a constant of type %s has no text form", elem_name(t->elem));
    int64_t n = tensor_count(t);
    if (use_splat(p, t, n)) {
        Tensor one = *t;
        one.rank = 0;
        one.bytes = (size_t)elem_bits(t->elem) / 8;
        p->splat_left -= t->bytes;
        buf_puts(p->out, "splat ");
        print_inline(p->out, &one, 1);
    } else if (n <= TEXT_INLINE_ELEMS) {
        print_inline(p->out, t, n);
    } else {
        print_reference(p, t);
    }
    return NULL;
}

static Status print_graph(Printer *p, const Graph *g, int indent);

static void print_float(Buf *b, float v) {
    char s[64];
    format_float(s, sizeof s, (double)v, false);
    buf_puts(b, s);
}

static void print_list(Buf *b, const Attr *a) {
    buf_puts(b, "[");
    for (int64_t i = 0; i < a->n; i++) {
        if (i) buf_puts(b, ", ");
        if (a->kind == ATTR_INTS)
            buf_printf(b, "%" PRId64, a->ints[i]);
        else if (a->kind == ATTR_FLOATS)
            print_float(b, a->floats[i]);
        else
            print_quoted(b, a->strings[i], strlen(a->strings[i]));
    }
    buf_puts(b, "]");
}

static Status print_attr(Printer *p, const Graph *g, const Attr *a, int indent) {
    Buf *b = p->out;
    buf_printf(b, "%s=", a->name);
    switch (a->kind) {
    case ATTR_INT:
        buf_printf(b, "%" PRId64, a->i);
        break;
    case ATTR_FLOAT:
        print_float(b, a->f);
        break;
    case ATTR_STRING:
        print_quoted(b, a->s, (size_t)a->n);
        break;
    case ATTR_INTS:
    case ATTR_FLOATS:
    case ATTR_STRINGS:
        print_list(b, a);
        break;
    case ATTR_TENSOR: {
        Type t = tensor_type(a->t);
        buf_puts(b, "tensor ");
        print_type(b, g->syms, &t);
        buf_puts(b, " = ");
        return print_tensor(p, a->t);
    }
    case ATTR_GRAPH:
        return print_graph(p, a->g, indent + 1);
    case ATTR_TYPE:
        buf_puts(b, "type ");
        print_type(b, g->syms, a->type);
        break;
    }
    return NULL;
}

static void print_indent(Buf *b, int indent) { buf_printf(b, "%*s", 2 * indent, ""); }

static void print_named_type(Printer *p, const Graph *g, ValueId v) {
    print_value_name(p->out, g->values[v].name);
    buf_puts(p->out, " : ");
    print_type(p->out, g->syms, &g->values[v].type);
}

static void print_operands(Printer *p, const Graph *g, const ValueId *v, uint32_t n) {
    buf_puts(p->out, "(");
    for (uint32_t i = 0; i < n; i++) {
        if (i) buf_puts(p->out, ", ");
        if (v[i] == NO_ID)
            buf_puts(p->out, "_");
        else
            print_value_name(p->out, g->values[v[i]].name);
    }
    buf_puts(p->out, ")");
}

static Status print_node(Printer *p, const Graph *g, const Node *n, int indent) {
    Buf *b = p->out;
    print_indent(b, indent);
    for (uint32_t i = 0; i < n->n_out; i++) {
        if (i) buf_puts(b, ", ");
        print_named_type(p, g, n->out[i]);
    }
    buf_printf(b, " = %s%s%s", n->op->domain, *n->op->domain ? "." : "", n->op->name);
    if (!n->n_out || strcmp(n->name, g->values[n->out[0]].name)) {
        buf_puts(b, " ");
        print_quoted(b, n->name, strlen(n->name));
    }
    print_operands(p, g, n->in, n->n_in);
    if (n->n_captures) {
        buf_puts(b, " captures");
        print_operands(p, g, n->in + n->n_in, n->n_captures);
    }
    if (n->n_attrs) buf_puts(b, " {");
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        if (i) buf_puts(b, ", ");
        TRY(status_context(print_attr(p, g, &n->attrs[i], indent), "node '%s', attribute %s", n->name,
                           n->attrs[i].name));
    }
    buf_puts(b, n->n_attrs ? "}\n" : "\n");
    return NULL;
}

static Status print_constants(Printer *p, const Graph *g, int indent) {
    for (ValueId v = 0; v < g->n_values; v++) {
        const Value *x = &g->values[v];
        if (!x->constant || (!x->n_uses && !x->is_output)) continue;
        print_indent(p->out, indent);
        buf_puts(p->out, "const ");
        print_named_type(p, g, v);
        buf_puts(p->out, " = ");
        TRY(status_context(print_tensor(p, x->constant), "'%s'", x->name));
        buf_puts(p->out, "\n");
    }
    return NULL;
}

static Status print_graph(Printer *p, const Graph *g, int indent) {
    Buf *b = p->out;
    const char *name = g->name ? g->name : "";
    buf_puts(b, "graph ");
    print_quoted(b, name, strlen(name));
    buf_printf(b, " opset %d {\n", g->opset);
    for (uint32_t i = 0; i < g->n_captures; i++) {
        const Capture *c = &g->captures[i];
        print_indent(b, indent + 1);
        buf_printf(b, "capture %" PRIu32 " ", c->slot);
        print_named_type(p, g, c->inner);
        buf_puts(b, "\n");
    }
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        print_indent(b, indent + 1);
        buf_puts(b, "input ");
        print_named_type(p, g, g->inputs[i]);
        buf_puts(b, "\n");
    }
    TRY(print_constants(p, g, indent + 1));
    for (uint32_t i = 0; i < g->n_order; i++) {
        const Node *n = &g->nodes[g->order[i]];
        if (!n->dead) TRY(print_node(p, g, n, indent + 1));
    }
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        print_indent(b, indent + 1);
        buf_puts(b, "output ");
        print_value_name(b, g->values[g->outputs[i]].name);
        buf_puts(b, "\n");
    }
    print_indent(b, indent);
    buf_puts(b, "}");
    return NULL;
}

Status graph_print(const Graph *g, Buf *text, Buf *weights) {
    Printer p = {text, weights, TEXT_SPLAT_BUDGET};
    TRY(print_graph(&p, g, 0));
    buf_puts(text, "\n");
    return text->failed || (weights && weights->failed) ? status_oom() : NULL;
}
