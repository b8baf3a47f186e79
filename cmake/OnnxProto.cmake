# onnx.proto (of the pinned PyPI package "onnx") -> onnx.pb-c.{h,c} in the build folder -> target onnx_proto.
find_program(PROTOC_C protoc-c REQUIRED)
if(NOT ONNX_PROTO_DIR)
    find_path(onnx_proto_found onnx.proto PATH_SUFFIXES onnx NO_CACHE)
    set(onnx_proto_dir "${onnx_proto_found}")
else()
    set(onnx_proto_dir "${ONNX_PROTO_DIR}")
endif()
if(NOT EXISTS "${onnx_proto_dir}/onnx.proto")
    message(FATAL_ERROR "onnx.proto was not found; it is part of the PyPI package 'onnx'. Run ./dev build, or say where "
                        "it lies with -DONNX_PROTO_DIR=FOLDER.")
endif()

set(onnx_proto_out "${PROJECT_BINARY_DIR}/generated")
file(MAKE_DIRECTORY "${onnx_proto_out}")
add_custom_command(
    OUTPUT "${onnx_proto_out}/onnx.pb-c.c" "${onnx_proto_out}/onnx.pb-c.h"
    COMMAND "${PROTOC_C}" "--proto_path=${onnx_proto_dir}" "--c_out=${onnx_proto_out}" "${onnx_proto_dir}/onnx.proto"
    DEPENDS "${onnx_proto_dir}/onnx.proto"
    VERBATIM)
add_library(onnx_proto OBJECT "${onnx_proto_out}/onnx.pb-c.c" "${onnx_proto_out}/onnx.pb-c.h")
target_include_directories(onnx_proto SYSTEM PUBLIC "${onnx_proto_out}")
target_link_libraries(onnx_proto PUBLIC PkgConfig::pare_pkgs)
target_compile_options(onnx_proto PRIVATE -w) # generated code, not ours to warn about
