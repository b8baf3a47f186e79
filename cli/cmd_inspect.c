/* pare inspect: what a model is made of. */
#include "cli/session.h"
#include "cli/variant.h"
#include "passes/pass.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct InspectFlags {
    const char *model, *dot, *text, *passes;
    bool layers;
    DataFlags data;
    CommonFlags common;
} InspectFlags;

/* ---- figures ---- */

typedef struct OpCount {
    const char *domain, *name;
    int n;
} OpCount;

typedef struct Figures {
    OpCount ops[256];
    int n_ops;
    int64_t parameters, constant_bytes, macs;
    bool macs_partial; /* a product's size depends on a symbol */
    size_t arena_bytes;
    int steps, reference_steps; /* -1: not planned (symbolic shapes) */
} Figures;

/* Multiply-accumulates of a product; -1 when a dimension has no number, 0 for other ops. */
static int64_t node_macs(const Graph *g, const Node *n) {
    if (!n->n_out || n->out[0] == NO_ID) return 0;
    bool conv = !strcmp(n->op->name, "Conv") || !strcmp(n->op->name, "QConv");
    bool matrix = !strcmp(n->op->name, "Gemm") || !strcmp(n->op->name, "MatMul") || !strcmp(n->op->name, "QMatMul");
    bool transposed = op_is(n, "ConvTranspose");
    if (!conv && !matrix && !transposed) return 0;
    const Type *y = graph_in_type(g, n, transposed ? 0 : -1), *w = graph_in_type(g, n, 1);
    if (!transposed) y = &g->values[n->out[0]].type;
    int64_t out = type_count(y), per;
    if (out < 0 || !w || !type_is_static(w)) return -1;
    if (conv || transposed)
        per = type_count(w) / (w->dims[0] ? w->dims[0] : 1);
    else {
        const Type *x = graph_in_type(g, n, 0);
        bool trans = op_is(n, "Gemm") && attr_int(n, "transA");
        per = x && x->rank > 0 ? x->dims[trans ? 0 : x->rank - 1] : -1;
    }
    int64_t total;
    return per < 0 || DIM_IS_SYM(per) || __builtin_mul_overflow(out, per, &total) ? -1 : total;
}

static void count_op(Figures *f, const Node *n) {
    for (int i = 0; i < f->n_ops; i++)
        if (!strcmp(f->ops[i].name, n->op->name) && !strcmp(f->ops[i].domain, n->op->domain)) {
            f->ops[i].n++;
            return;
        }
    if (f->n_ops < (int)(sizeof f->ops / sizeof *f->ops)) f->ops[f->n_ops++] = (OpCount){n->op->domain, n->op->name, 1};
}

static int by_name(const void *a, const void *b) {
    const OpCount *x = a, *y = b;
    return x->n != y->n ? y->n - x->n : strcmp(x->name, y->name);
}

static void count_graph(const Graph *g, Figures *f) {
    FOR_NODES (g, id, n) {
        (void)id;
        count_op(f, n);
        int64_t m = node_macs(g, n);
        if (m < 0)
            f->macs_partial = true;
        else
            f->macs += m;
        for (int i = 0; i < n->n_attrs; i++)
            if (n->attrs[i].kind == ATTR_GRAPH) count_graph(n->attrs[i].g, f);
    }
    for (uint32_t i = 0; i < g->n_values; i++) {
        const Tensor *t = g->values[i].constant;
        if (!t) continue;
        f->constant_bytes += (int64_t)t->bytes;
        if (elem_is_float(t->elem) || t->elem == ELEM_I8) f->parameters += tensor_count(t);
    }
}

/* How it runs: the steps after the default passes, with batch 1. Left out when a size has no number. */
static Status plan_figures(const InspectFlags *f, Figures *out) {
    const Backend *b = backend_find("cpu");
    Model m;
    out->steps = -1;
    TRY(model_load(f->model, true, &m));
    Plan *p = NULL;
    Status s = apply_shapes(m.graph, &f->data.shapes);
    if (!s) s = plan_for(b, m.graph, NULL, 1, NULL, 0, &p);
    if (!s) {
        const StepInfo *steps;
        out->steps = b->steps(p, &steps);
        for (int i = 0; i < out->steps; i++) {
            out->reference_steps += !strcmp(steps[i].kernel, "reference") || !strcmp(steps[i].kernel, "ref");
            if (f->layers && !f->common.quiet)
                printf("  %-34.34s %-22.22s %s\n", steps[i].name, steps[i].op, steps[i].kernel);
        }
        out->arena_bytes = b->arena_bytes(p);
        b->plan_free(p);
    }
    model_free(&m);
    if (status_code(s) != STATUS_USAGE) return s;
    status_free(s); /* sizes without a number: the rest is still worth telling */
    return NULL;
}

/* ---- output ---- */

static const char *type_text(const Graph *g, const Type *t, char *buf, size_t cap) {
    int at = snprintf(buf, cap, "%s", elem_name(t->elem) ? elem_name(t->elem) : "?");
    for (int i = 0; i < t->rank && (size_t)at < cap; i++) {
        char dim[64];
        sym_print(g->syms, t->dims[i], dim, sizeof dim);
        at += snprintf(buf + at, cap - (size_t)at, "%s%s", i ? "," : "[", dim);
    }
    if ((size_t)at < cap) snprintf(buf + at, cap - (size_t)at, "%s", t->rank < 0 ? "[?]" : t->rank ? "]" : "[]");
    return buf;
}

static void print_values(const Graph *g, const char *title, const ValueId *ids, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        char buf[256];
        printf("%-9s %s  %s\n", i ? "" : title, g->values[ids[i]].name,
               type_text(g, &g->values[ids[i]].type, buf, sizeof buf));
    }
}

static void print_figures(const Model *m, const Figures *f) {
    const Graph *g = m->graph;
    printf("%s: %" PRIu64 " bytes, opset %d, %u nodes, %s\n", m->path, m->bytes, g->opset, g->n_order, m->variant);
    print_values(g, "inputs", g->inputs, g->n_inputs);
    print_values(g, "outputs", g->outputs, g->n_outputs);
    printf("weights   %" PRId64 " parameters, %" PRId64 " bytes\n", f->parameters, f->constant_bytes);
    printf("work      %.3f million multiply-accumulates at batch 1%s\n", (double)f->macs / 1e6,
           f->macs_partial ? " and more that depend on symbolic sizes" : "");
    printf("ops      ");
    for (int i = 0, column = 9; i < f->n_ops; i++) {
        char word[96];
        int n = snprintf(word, sizeof word, " %s%s%s x%d", f->ops[i].domain, *f->ops[i].domain ? "." : "",
                         f->ops[i].name, f->ops[i].n);
        if (column + n > 78) {
            printf("\n         ");
            column = 9;
        }
        fputs(word, stdout);
        column += n;
    }
    puts("");
    if (f->steps >= 0)
        printf("compiled  %d steps on cpu (%d on the reference), %zu bytes of arena\n", f->steps, f->reference_steps,
               f->arena_bytes);
    else
        puts("compiled  not planned: give sizes with --shape");
}

static json_t *values_json(const Graph *g, const ValueId *ids, uint32_t n) {
    json_t *a = json_array();
    for (uint32_t i = 0; i < n; i++) {
        const Value *v = &g->values[ids[i]];
        json_t *shape = json_array();
        for (int d = 0; d < v->type.rank; d++) {
            char dim[64];
            sym_print(g->syms, v->type.dims[d], dim, sizeof dim);
            json_array_append_new(shape,
                                  DIM_IS_SYM(v->type.dims[d]) ? json_string(dim) : json_integer(v->type.dims[d]));
        }
        json_array_append_new(a, json_pack("{s:s, s:s, s:o}", "name", v->name, "type",
                                           elem_name(v->type.elem) ? elem_name(v->type.elem) : "?", "shape", shape));
    }
    return a;
}

static json_t *layers_of(const Graph *g) {
    json_t *a = json_array();
    FOR_NODES (g, id, n) {
        (void)id;
        int64_t macs = node_macs(g, n), bytes = 0;
        for (int i = 0; i < n->n_in; i++) {
            const Tensor *t = graph_constant(g, n->in[i]);
            if (t) bytes += (int64_t)t->bytes;
        }
        char type[256] = "";
        if (n->n_out && n->out[0] != NO_ID) type_text(g, &g->values[n->out[0]].type, type, sizeof type);
        json_array_append_new(a, json_pack("{s:s, s:s, s:s, s:o, s:I}", "name", n->name, "op", n->op->name, "output",
                                           type, "macs", macs < 0 ? json_null() : json_integer(macs), "bytes",
                                           (json_int_t)bytes));
    }
    return a;
}

static json_t *figures_json(const Model *m, const Figures *f) {
    const Graph *g = m->graph;
    json_t *ops = json_object();
    for (int i = 0; i < f->n_ops; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s%s", f->ops[i].domain, *f->ops[i].domain ? "." : "", f->ops[i].name);
        json_object_set_new(ops, name, json_integer(f->ops[i].n));
    }
    json_t *o = json_pack(
        "{s:i, s:s, s:I, s:s, s:i, s:s, s:i, s:o, s:o, s:o, s:I, s:I, s:I, s:[], s:o}", "schema_version", 1, "file",
        m->path, "bytes", (json_int_t)m->bytes, "sha256", m->sha256, "opset", g->opset, "variant", m->variant, "nodes",
        (int)g->n_order, "inputs", values_json(g, g->inputs, g->n_inputs), "outputs",
        values_json(g, g->outputs, g->n_outputs), "ops", ops, "parameters", (json_int_t)f->parameters, "constant_bytes",
        (json_int_t)f->constant_bytes, "macs", (json_int_t)f->macs, "unsupported", "layers", layers_of(g));
    if (o && f->steps >= 0) {
        json_object_set_new(o, "steps", json_integer(f->steps));
        json_object_set_new(o, "reference_steps", json_integer(f->reference_steps));
        json_object_set_new(o, "arena_bytes", json_integer((json_int_t)f->arena_bytes));
    }
    return o;
}

static void dot_escape(Buf *b, const char *s) {
    for (; *s; s++) {
        if (*s == '"' || *s == '\\') buf_puts(b, "\\");
        buf_append(b, s, 1);
    }
}

/* Graphviz: a box a node, an edge a value. */
static Status write_dot(const Graph *g, const char *path) {
    Buf b = {0};
    buf_puts(&b, "digraph model {\n  node [shape=box, fontname=\"sans-serif\"];\n");
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        buf_printf(&b, "  v%u [shape=ellipse, label=\"", g->inputs[i]);
        dot_escape(&b, g->values[g->inputs[i]].name);
        buf_puts(&b, "\"];\n");
    }
    FOR_NODES (g, id, n) {
        buf_printf(&b, "  n%u [label=\"%s\\n", id, n->op->name);
        dot_escape(&b, n->name);
        buf_puts(&b, "\"];\n");
        for (int i = 0; i < n->n_in + n->n_captures; i++) {
            if (n->in[i] == NO_ID || g->values[n->in[i]].constant) continue;
            NodeId p = g->values[n->in[i]].producer;
            char type[256];
            buf_printf(&b, "  %c%u -> n%u [label=\"%s\"];\n", p == NO_ID ? 'v' : 'n', p == NO_ID ? n->in[i] : p, id,
                       type_text(g, &g->values[n->in[i]].type, type, sizeof type));
        }
    }
    buf_puts(&b, "}\n");
    Status s = b.failed ? status_oom() : write_text(path, b.data, b.len);
    buf_free(&b);
    return s;
}

static Status write_ir(const Graph *g, const char *path) {
    Buf text = {0}, weights = {0};
    Status s = graph_print(g, &text, &weights);
    if (!s) s = text.failed ? status_oom() : write_text(path, text.data, text.len);
    buf_free(&text);
    buf_free(&weights);
    return s;
}

/* Multiply-accumulates at batch 1, where other sizes are known. */
static Status count_work(const Graph *g, Figures *f) {
    Graph *copy;
    TRY(graph_clone(g, &copy));
    Type *types = mem_zalloc((copy->n_inputs + 1) * sizeof *types);
    Status s = types ? default_types(copy, types) : status_oom();
    for (uint32_t i = 0; !s && types && i < copy->n_inputs; i++) copy->values[copy->inputs[i]].type = types[i];
    bool bound = !s;
    if (!s) s = graph_bind(copy, NULL, NULL);
    mem_free(types);
    if (!bound && status_code(s) == STATUS_USAGE) {
        status_free(s);
        s = NULL;
    }
    if (!s) count_graph(copy, f);
    graph_free(copy);
    return s;
}

static Status inspect(const InspectFlags *f, Model *m) {
    TRY(apply_shapes(m->graph, &f->data.shapes));
    if (f->passes) TRY(pipeline_run(m->graph, f->passes, &(PipelineOptions){.verify = true}));
    if (f->text) return write_ir(m->graph, f->text);
    if (f->dot) return write_dot(m->graph, f->dot);
    Figures figures = {0};
    TRY(count_work(m->graph, &figures));
    qsort(figures.ops, (size_t)figures.n_ops, sizeof *figures.ops, by_name);
    TRY(plan_figures(f, &figures));
    if (!f->common.quiet && !(f->common.json && !strcmp(f->common.json, "-"))) print_figures(m, &figures);
    return f->common.json ? json_write(f->common.json, figures_json(m, &figures)) : NULL;
}

Status cmd_inspect(int argc, char **argv) {
    InspectFlags f = {0};
    const Option options[] = {
        {"--model", "-m", OPT_STRING, &f.model, "FILE", "model: .onnx or .pare"},
        {"--layers", NULL, OPT_FLAG, &f.layers, NULL, "what every compiled step is and runs on"},
        {"--passes", NULL, OPT_STRING, &f.passes, "TEXT", "run these passes first, as in fold,cse,fuse"},
        {"--text", NULL, OPT_STRING, &f.text, "FILE", "write the graph as text (- is standard output)"},
        {"--dot", NULL, OPT_STRING, &f.dot, "FILE", "write the graph for Graphviz"},
        SHAPE_OPTION(f.data),
    };
    const Command *c = command_find("inspect");
    bool help;
    TRY(args_parse(c, argc, argv, options, N_OPTIONS(options), &f.common, NULL, &help));
    if (help) return NULL;
    TRY(args_require(c, "-m MODEL", f.model));
    Model m;
    TRY(model_load(f.model, false, &m));
    Status s = inspect(&f, &m);
    model_free(&m);
    return s;
}
