/* What a model needs and pare lacks: all of it in one error, before anything is built. */
#include "frontend/onnx_import.h"

#include <inttypes.h>
#include <string.h>

enum { NAMES_SHOWN = 8, MAX_SURVEY_DEPTH = 64 };

/* One unsupported thing and where it occurs. */
typedef struct Finding {
    const char *what;
    const char *names[NAMES_SHOWN];
    uint32_t count;
} Finding;

typedef struct Survey {
    Import *im;
    Finding *findings;
    uint32_t n, cap;
    bool *visited; /* functions of the model */
} Survey;

const char *onnx_domain(const char *domain) { return domain && strcmp(domain, "ai.onnx") != 0 ? domain : ""; }

int64_t opset_of(const OpsetList *l, const char *domain) {
    for (size_t i = 0; i < l->n; i++)
        if (!strcmp(onnx_domain(l->sets[i]->domain), domain)) return l->sets[i]->version;
    return *domain ? -1 : l->deflt;
}

static const char *text(const char *s) { return s ? s : ""; }

const Onnx__FunctionProto *find_function(const Import *im, const Onnx__NodeProto *n) {
    const Onnx__ModelProto *m = im->wire.model;
    for (size_t i = 0; i < m->n_functions; i++) {
        const Onnx__FunctionProto *f = m->functions[i];
        if (!strcmp(text(f->name), text(n->op_type)) && !strcmp(onnx_domain(f->domain), onnx_domain(n->domain)) &&
            !strcmp(text(f->overload), text(n->overload)))
            return f;
    }
    return NULL;
}

static Status add_finding(Survey *s, const char *what, const Onnx__NodeProto *p) {
    TRY_ALLOC(what);
    uint32_t i = 0;
    while (i < s->n && strcmp(s->findings[i].what, what) != 0) i++;
    if (i == s->cap) {
        uint32_t cap = s->cap ? s->cap * 2 : 16;
        Finding *f = ARENA_ARRAY(s->im->scratch, Finding, cap);
        TRY_ALLOC(f);
        if (s->n) memcpy(f, s->findings, s->n * sizeof *f);
        s->findings = f;
        s->cap = cap;
    }
    if (i == s->n) s->findings[s->n++] = (Finding){.what = what};
    Finding *f = &s->findings[i];
    const char *name = p->name && *p->name ? p->name : p->n_output ? p->output[0] : "(unnamed)";
    if (f->count < NAMES_SHOWN) f->names[f->count] = name;
    f->count++;
    return NULL;
}

static Status check_op(Survey *s, const OpsetList *opsets, const Onnx__NodeProto *p) {
    Arena *a = s->im->scratch;
    const char *domain = onnx_domain(p->domain), *op = text(p->op_type), *shown = *domain ? domain : "ai.onnx";
    int64_t version = opset_of(opsets, domain);
    if (version < 0)
        return import_error(s->im, STATUS_INVALID, "node '%s' uses domain '%s', which the model does not import",
                            text(p->name), shown);
    if (!*domain && !strcmp(op, "Constant")) return NULL;
    if (!*domain && version > ONNX_NEWEST_OPSET)
        return import_error(s->im, STATUS_UNSUPPORTED, "opset %" PRId64 " is newer than %d, the newest that pare knows",
                            version, ONNX_NEWEST_OPSET);
    const char *refusal = *domain ? NULL : upgrade_refusal(op, (int)version);
    if (refusal)
        return add_finding(s, arena_printf(a, "op %s.%s (opset %" PRId64 "; %s)", shown, op, version, refusal), p);
    const OpDef *def = op_find(domain, *domain ? op : upgrade_target(op, (int)version));
    if (!def || !strcmp(domain, "pare"))
        return add_finding(s, arena_printf(a, "op %s.%s (opset %" PRId64 ")", shown, op, version), p);
    for (size_t i = 0; i < p->n_attribute; i++) {
        const char *attr = text(p->attribute[i]->name);
        if (op_attr_kind(def, attr, NULL, NULL) || (!*domain && upgrade_takes_attr(op, (int)version, attr))) continue;
        TRY(add_finding(s, arena_printf(a, "attribute '%s' of %s.%s (opset %" PRId64 ")", attr, shown, op, version),
                        p));
    }
    return NULL;
}

static Status survey_nodes(Survey *s, const OpsetList *opsets, Onnx__NodeProto *const *nodes, size_t n, int depth);

static Status survey_function(Survey *s, const Onnx__FunctionProto *f, int depth) {
    const Onnx__ModelProto *m = s->im->wire.model;
    size_t i = 0;
    while (m->functions[i] != f) i++;
    if (s->visited[i]) return NULL;
    s->visited[i] = true;
    OpsetList opsets = {f->opset_import, f->n_opset_import, -1};
    return survey_nodes(s, &opsets, f->node, f->n_node, depth + 1);
}

static Status survey_nodes(Survey *s, const OpsetList *opsets, Onnx__NodeProto *const *nodes, size_t n, int depth) {
    if (depth > MAX_SURVEY_DEPTH)
        return import_error(s->im, STATUS_INVALID, "functions and subgraphs are nested deeper than %d levels",
                            MAX_SURVEY_DEPTH);
    for (size_t i = 0; i < n; i++) {
        const Onnx__NodeProto *p = nodes[i];
        const Onnx__FunctionProto *f = find_function(s->im, p);
        TRY(f ? survey_function(s, f, depth) : check_op(s, opsets, p));
        for (size_t k = 0; k < p->n_attribute; k++) {
            const Onnx__GraphProto *g = p->attribute[k]->g;
            if (g) TRY(survey_nodes(s, opsets, g->node, g->n_node, depth + 1));
        }
    }
    return NULL;
}

static Status report(const Survey *s) {
    Buf b = {0};
    for (uint32_t i = 0; i < s->n; i++) {
        const Finding *f = &s->findings[i];
        buf_printf(&b, "\n  %s: node%s", f->what, f->count > 1 ? "s" : "");
        for (uint32_t k = 0; k < f->count && k < NAMES_SHOWN; k++) buf_printf(&b, "%s '%s'", k ? "," : "", f->names[k]);
        if (f->count > NAMES_SHOWN) buf_printf(&b, " and %u more", f->count - NAMES_SHOWN);
    }
    Status status =
        b.failed ? status_oom()
                 : import_error(s->im, STATUS_UNSUPPORTED, "the model needs what pare does not support:%s", b.data);
    buf_free(&b);
    return status;
}

Status survey_model(Import *im) {
    const Onnx__ModelProto *m = im->wire.model;
    Survey s = {.im = im, .visited = ARENA_ARRAY(im->scratch, bool, m->n_functions)};
    TRY_ALLOC(s.visited);
    TRY(survey_nodes(&s, &im->opsets, m->graph->node, m->graph->n_node, 0));
    return s.n ? report(&s) : NULL;
}
