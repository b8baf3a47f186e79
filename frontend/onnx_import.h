/* What the parts of the importer share. Internal to frontend/.
 *
 * onnx_load.c     the entry: file, checks of the whole model, hashes
 * onnx_survey.c   what is unsupported, all of it, before anything is built
 * onnx_graph.c    scopes and names: graphs, subgraphs with captures, functions put in place of their calls
 * onnx_node.c     one node: attributes, upgrade, emission */
#ifndef PARE_FRONTEND_ONNX_IMPORT_H
#define PARE_FRONTEND_ONNX_IMPORT_H

#include "frontend/onnx_model.h"
#include "frontend/onnx_tensor.h"
#include "frontend/upgrade.h"

enum {
    MAX_CALL_DEPTH = 32,          /* functions within functions */
    MAX_IMPORTED_NODES = 1000000, /* after functions are put in place: calls that double at every level end here */
    ABSENT_VALUE = UINT32_MAX,    /* in Scope.values: an absent input of a function (NO_ID) */
    STRING_VALUE = UINT32_MAX - 1 /* in Scope.values: a constant of strings */
};

typedef struct OpsetList {
    Onnx__OperatorSetIdProto *const *sets;
    size_t n;
    int deflt; /* version of the default domain when the list lacks it; -1: an error */
} OpsetList;
/* "" for "ai.onnx" and absent names. */
const char *onnx_domain(const char *domain);
/* -1 when the domain is not imported. */
int64_t opset_of(const OpsetList *l, const char *domain);

typedef struct Import {
    const char *file;
    WireModel wire;
    TensorSource source;
    Arena *scratch;  /* of the whole import */
    NameMap symbols; /* names of the symbolic dims of the graph's inputs */
    OpsetList opsets;
    uint64_t n_nodes;
} Import;

/* The nodes of a graph or of a function. */
typedef struct Body {
    Onnx__NodeProto *const *nodes;
    size_t n_nodes;
    Onnx__ValueInfoProto *const *info;
    size_t n_info;
    Onnx__ValueInfoProto *const *outputs; /* declared outputs of a graph; NULL for functions */
    size_t n_outputs;
} Body;

struct Scope;

/* A call of a function of the model. */
typedef struct Call {
    const Onnx__FunctionProto *fn;
    const Onnx__NodeProto *node;
    struct Scope *scope; /* where the call stands */
    int depth;
} Call;

/* Names of one graph or one call of a function. */
typedef struct Scope {
    Import *im;
    Graph *g;
    struct Scope *outer; /* of a subgraph: the scope around it, whose values may be captured */
    NodeId owner;        /* the node of outer->g that owns the subgraph */
    NameMap values;      /* ONNX name -> ValueId, ABSENT_VALUE or STRING_VALUE */
    NameMap info;        /* ONNX name -> index into declared types */
    const char *prefix;  /* of names inside a function, "" outside */
    const Call *call;    /* NULL outside functions */
    OpsetList opsets;
    uint32_t *inferred; /* of g, for upgrades */
} Scope;

PARE_NODISCARD PARE_PRINTF(3, 4) Status import_error(const Import *im, StatusCode code, const char *fmt, ...);

/* onnx_survey.c */
PARE_NODISCARD Status survey_model(Import *im);
/* The function of the model that a node calls, or NULL. */
const Onnx__FunctionProto *find_function(const Import *im, const Onnx__NodeProto *n);

/* onnx_graph.c */
PARE_NODISCARD Status import_root(Import *im, Graph **out);
/* Builds the subgraph p of node `owner` of s->g; *out is owned by the caller. */
PARE_NODISCARD Status import_subgraph(Scope *s, NodeId owner, const Onnx__GraphProto *p, Graph **out);
/* The value of a name in scope; captures it where it comes from around a subgraph. `reader` is named in errors. */
PARE_NODISCARD Status scope_value(Scope *s, const char *name, const char *reader, ValueId *out);

/* onnx_node.c */
PARE_NODISCARD Status import_node(Scope *s, const Onnx__NodeProto *p);
/* The node's own name, else that of its first output, with the prefix of s; in the scratch arena. */
PARE_NODISCARD Status node_name(Scope *s, const Onnx__NodeProto *p, const char **out);
bool is_constant_node(const Onnx__NodeProto *p);
/* The value of a Constant node; *is_string instead of a tensor when it holds strings. */
PARE_NODISCARD Status constant_content(Scope *s, const Onnx__NodeProto *p, Tensor *out, bool *is_string);
/* Follows references to attributes of the calling node; *scope is where a subgraph in it belongs. NULL: absent, its
 * default holds. */
PARE_NODISCARD Status resolve_attr(Scope *s, const Onnx__AttributeProto *a, const Onnx__AttributeProto **out,
                                   Scope **scope);

#endif
