/* Models from any file, ready to plan: what the program and the C API share. */
#ifndef PARE_API_LOAD_H
#define PARE_API_LOAD_H

#include "ir/graph.h"

/* The passes that every ONNX model gets before it is planned or compiled. */
PARE_NODISCARD Status prepare_graph(Graph *g);
/* Opens .onnx or .pare (by content, not by name); ONNX models are prepared. */
PARE_NODISCARD Status load_graph(const char *path, Graph **out);

#endif
