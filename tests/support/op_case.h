/* Tests of single ops: one node, its inputs, then checks of its inferred types and evaluated values. Failures end the
 * cmocka test with a message that names the op. */
#ifndef PARE_TESTS_SUPPORT_OP_CASE_H
#define PARE_TESTS_SUPPORT_OP_CASE_H

#include "ir/op.h"

enum { OP_CASE_MAX = 16 };

typedef struct OpCase {
    Graph *g;
    const OpDef *op;
    int n_in, n_out;
    ValueId in[OP_CASE_MAX], out[OP_CASE_MAX];
    Tensor value[OP_CASE_MAX]; /* of inputs; data NULL where only a type was given */
    NodeId node;
    bool ran;
    Tensor result[OP_CASE_MAX];
} OpCase;

/* A node of this op with n_out outputs. Attributes are set on c.g, c.node; inputs are added first. */
OpCase op_case(const char *domain, const char *name, int n_out);
void op_case_free(OpCase *c);

/* Inputs, in order. dims as text: "1,3,8,8", "N,3,H,W", "" = scalar, "?" = unknown rank. `data` in the element's own
 * layout. A constant is known to shape rules. */
void op_in(OpCase *c, ElemType e, const char *dims, const void *data);
void op_const(OpCase *c, ElemType e, const char *dims, const void *data);
void op_in_type(OpCase *c, ElemType e, const char *dims);
void op_in_absent(OpCase *c);
/* Makes the node; after the inputs, before attributes. */
void op_ready(OpCase *c);
void op_int(OpCase *c, const char *name, int64_t v);
void op_float(OpCase *c, const char *name, float v);
void op_string(OpCase *c, const char *name, const char *v);
void op_ints(OpCase *c, const char *name, int64_t count, const int64_t *v);

/* The inferred type of output o prints as `text`: "float32[N,64,(H ^/ 2)]". */
void op_expect_type(OpCase *c, int o, const char *text);
/* Output o: element type, shape and values; |difference| <= tol for floats, equal bits otherwise. Also checks that the
 * inferred type agrees. */
void op_expect(OpCase *c, int o, ElemType e, const char *dims, const void *data, double tol);
/* Inference (or, when that passes and values are given, evaluation) fails with this code and text in the message. */
void op_expect_error(OpCase *c, StatusCode code, const char *text);

#endif
