/* Tests of small graphs written as text: lines of the IR that make a value %y. */
#ifndef PARE_TESTS_SUPPORT_IR_CASE_H
#define PARE_TESTS_SUPPORT_IR_CASE_H

#include "ir/op.h"

/* %y of these lines evaluates to `want` ("float32[2] = {1.0, 2.0}"): same type, |difference| <= tol for floats, equal
 * otherwise; the inferred type must not contradict it. Fails the cmocka test with the lines. */
void ir_expect(const char *lines, const char *want, double tol);
/* The type inferred for %y prints as `type`. */
void ir_expect_type(const char *lines, const char *type);
/* Inference or else evaluation fails with this code and `text` in the message. */
void ir_expect_error(const char *lines, StatusCode code, const char *text);

#endif
