/* The graph: the only in-memory form of a model between passes.
 *
 * Nodes and values live in arrays and are addressed by 32-bit ids that stay valid for the graph's life. Links between
 * producers and consumers are kept by the editing functions; nobody patches them by hand. All strings and arrays are
 * owned by the graph's arena; tensors by the graph.
 * Thread-safety: a graph that nobody edits may be read from any thread. */
#ifndef PARE_IR_GRAPH_H
#define PARE_IR_GRAPH_H

#include "ir/mem.h"
#include "ir/status.h"
#include "ir/tensor.h"
#include "ir/types.h"

typedef uint32_t NodeId;
typedef uint32_t ValueId;
#define NO_ID UINT32_MAX /* no node (inputs, constants) / no value (absent optional input or output) */

typedef struct Graph Graph;
struct OpDef;

typedef enum AttrKind {
    ATTR_INT = 'i',
    ATTR_FLOAT = 'f',
    ATTR_STRING = 's',
    ATTR_INTS = 'I',
    ATTR_FLOATS = 'F',
    ATTR_STRINGS = 'S',
    ATTR_TENSOR = 't',
    ATTR_GRAPH = 'g',
    ATTR_TYPE = 'p'
} AttrKind;

typedef struct Attr {
    const char *name;
    AttrKind kind;
    int64_t n; /* elements of ints, floats, strings; bytes of s */
    union {
        int64_t i;
        float f;
        const char *s; /* NUL-terminated as well */
        const int64_t *ints;
        const float *floats;
        const char *const *strings;
        Tensor *t; /* owned by the graph */
        Graph *g;  /* owned by the graph */
        const Type *type;
    };
} Attr;

typedef struct Node {
    const struct OpDef *op;
    const char *name; /* the model's own, or made from the first output; never NULL, unique in the graph */
    ValueId *in;      /* n_in formal inputs, then n_captures values that the subgraphs capture */
    ValueId *out;
    uint16_t n_in, n_out, n_captures, n_attrs;
    Attr *attrs;
    bool dead;
} Node;

typedef struct Use {
    NodeId node;
    uint32_t slot; /* index in Node.in */
} Use;

typedef struct Value {
    const char *name; /* never NULL, unique in the graph */
    Type type;
    NodeId producer; /* NO_ID: graph input, constant or capture */
    uint32_t out_index;
    Tensor *constant; /* not NULL for constants (initializers) */
    const Dim *known; /* known integer content (shapes), n_known elements, symbols allowed; NULL when unknown */
    int n_known;
    Use *uses;
    uint32_t n_uses, cap_uses;
    bool is_input, is_output, is_capture;
} Value;

/* In a subgraph: value `inner` stands for the owner node's input slot `slot` (>= n_in). */
typedef struct Capture {
    uint32_t slot;
    ValueId inner;
} Capture;

struct Graph {
    Arena *arena;
    SymTab *syms;  /* shared with subgraphs; owned by the root */
    Graph *parent; /* NULL for the root */
    const char *name;
    int opset; /* every node has the meaning of pare's one opset; this is the version the source file had (information)
                */
    Node *nodes;
    uint32_t n_nodes, cap_nodes;
    Value *values;
    uint32_t n_values, cap_values;
    NodeId *order; /* live nodes in execution order; n_order of them */
    uint32_t n_order, cap_order;
    ValueId *inputs, *outputs; /* formal order of the model */
    uint32_t n_inputs, n_outputs, cap_inputs, cap_outputs;
    Capture *captures;
    uint32_t n_captures, cap_captures;
    struct NameIndex *names; /* name -> value, name -> node */
};

/* Creation. A subgraph shares the symbols of `parent`. */
PARE_NODISCARD Status graph_new(Graph *parent, const char *name, Graph **out);
void graph_free(Graph *g);
/* Deep copy (constants share bytes; value ids are kept, node ids are renumbered in execution order). */
PARE_NODISCARD Status graph_clone(const Graph *g, Graph **out);

/* Values. `name` NULL or taken: a fresh unique name is made from it. */
PARE_NODISCARD Status graph_add_value(Graph *g, const char *name, const Type *type, ValueId *out);
PARE_NODISCARD Status graph_add_input(Graph *g, const char *name, const Type *type, ValueId *out);
PARE_NODISCARD Status graph_add_constant(Graph *g, const char *name, Tensor tensor,
                                         ValueId *out);      /* takes the reference */
PARE_NODISCARD Status graph_add_output(Graph *g, ValueId v); /* a value may be output several times */
PARE_NODISCARD Status graph_add_capture(Graph *g, uint32_t owner_slot, const char *name, const Type *type,
                                        ValueId *inner);
/* Turns a value into a constant: detaches its producer's output (the producer gets a fresh unused value there). */
PARE_NODISCARD Status graph_make_constant(Graph *g, ValueId v, Tensor tensor);
ValueId graph_find_value(const Graph *g, const char *name); /* NO_ID when absent */
NodeId graph_find_node(const Graph *g, const char *name);

/* Nodes. Appends to the order. in[i] may be NO_ID (absent). If out[i] is NO_ID a fresh value is made (named after the
 * node) and stored back into out[i]; otherwise the value must have no producer yet. */
PARE_NODISCARD Status graph_add_node(Graph *g, const struct OpDef *op, const char *name, int n_in, const ValueId *in,
                                     int n_out, ValueId *out, NodeId *node);
/* Convenience: looks the op up by domain ("" = ONNX) and name; one output, whose value is returned. */
PARE_NODISCARD Status graph_build(Graph *g, const char *domain, const char *op, const char *name, int n_in,
                                  const ValueId *in, ValueId *out, NodeId *node);
PARE_NODISCARD Status graph_node_add_capture(Graph *g, NodeId n, ValueId outer, uint32_t *slot);
/* Drops captured input `slot` (>= n_in) of a node; no capture of its subgraphs may stand for it any more. */
void graph_node_remove_capture(Graph *g, NodeId n, uint32_t slot);
/* Takes captured value `inner` off a subgraph's list: it has no source until it is made a constant, and no uses else.
 */
void graph_remove_capture(Graph *sub, ValueId inner);
void graph_set_input(Graph *g, NodeId n, uint32_t slot, ValueId v); /* v may be NO_ID */
PARE_NODISCARD Status graph_append_input(Graph *g, NodeId n, ValueId v);
/* All uses of `from` (graph outputs too, keeping the output's NAME on the value that takes its place) go to `to`. */
PARE_NODISCARD Status graph_replace_uses(Graph *g, ValueId from, ValueId to);
/* Marks a node dead and drops its uses; its outputs must be unused. */
void graph_remove_node(Graph *g, NodeId n);
/* Stable topological sort of the live nodes; STATUS_INVALID names a node on a cycle. Call after edits that append. */
PARE_NODISCARD Status graph_sort(Graph *g);
/* Removes nodes and constants that no output needs; returns how many nodes were removed. */
uint32_t graph_eliminate_dead(Graph *g);
/* The value's only user, NO_ID when it has none, several, or is a graph output. */
NodeId graph_single_user(const Graph *g, ValueId v);
const Tensor *graph_constant(const Graph *g, ValueId v); /* NULL when absent or no constant */
/* Types of a value / node input, NULL when absent. */
const Type *graph_in_type(const Graph *g, const Node *n, int i);

/* Attributes. The getters fall back to the default in the op's row (ir/ops.def); asking for one that the row lacks is
 * an error of ours. */
const Attr *attr_find(const Node *n, const char *name); /* NULL when not set */
int64_t attr_int(const Node *n, const char *name);
float attr_float(const Node *n, const char *name);
const char *attr_string(const Node *n, const char *name);
/* Elements (NULL when not set) and their number. */
const int64_t *attr_ints(const Node *n, const char *name, int64_t *count);
const float *attr_floats(const Node *n, const char *name, int64_t *count);
/* Setting copies into the arena; replaces an attribute of the same name. */
PARE_NODISCARD Status attr_set_int(Graph *g, NodeId n, const char *name, int64_t v);
PARE_NODISCARD Status attr_set_float(Graph *g, NodeId n, const char *name, float v);
PARE_NODISCARD Status attr_set_string(Graph *g, NodeId n, const char *name, const char *v);
PARE_NODISCARD Status attr_set_ints(Graph *g, NodeId n, const char *name, const int64_t *v, int64_t count);
PARE_NODISCARD Status attr_set_floats(Graph *g, NodeId n, const char *name, const float *v, int64_t count);
/* Stores *a (its content is copied into the arena; tensor and graph ownership passes to g). */
PARE_NODISCARD Status attr_set(Graph *g, NodeId n, const Attr *a);
void attr_remove(Graph *g, NodeId n, const char *name);
/* Copies all attributes of `from` (of graph src) that the op of `to` knows. */
PARE_NODISCARD Status attr_copy_all(Graph *g, NodeId to, const Graph *src, const Node *from);

/* for each live node in order: FOR_NODES(g, id, n) { … } — nodes appended inside are not visited. */
#define FOR_NODES(g, id, n)                                                                                            \
    for (uint32_t id##_i = 0, id##_end = (g)->n_order; id##_i < id##_end; id##_i++)                                    \
        for (NodeId id = (g)->order[id##_i], id##_once = 1; id##_once; id##_once = 0)                                  \
            for (Node *n = &(g)->nodes[id]; n && !n->dead; n = NULL)

#endif
