# Which files make up the library, and the instruction-set flags of the kernels.
#
# A kernel's file name ends in its instruction set (gemm_avx512.c). That suffix alone decides the compiler flags, so
# that no other file is ever compiled for more than the baseline and the choice stays with run-time detection.
# Where two suffixes match, the later in the list holds.
set(isa_suffixes
    avx2
    avx_vnni
    avx512
    avx512_vnni
    avx512_bf16
    amx
    amx_int8
    amx_bf16)
set(isa_flags_avx2 -mavx2 -mfma -mf16c)
set(isa_flags_avx_vnni ${isa_flags_avx2} -mavxvnni)
set(isa_flags_avx512 ${isa_flags_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl)
set(isa_flags_avx512_vnni ${isa_flags_avx512} -mavx512vnni)
set(isa_flags_avx512_bf16 ${isa_flags_avx512} -mavx512bf16)
set(isa_flags_amx ${isa_flags_avx512_vnni} -mavx512bf16 -mamx-tile -mamx-int8 -mamx-bf16)
set(isa_flags_amx_int8 ${isa_flags_amx})
set(isa_flags_amx_bf16 ${isa_flags_amx})

# pare_isa_of(path out): the instruction-set suffix of a kernel file, or "".
function(pare_isa_of path out)
    set(${out} "" PARENT_SCOPE)
    foreach(isa IN LISTS isa_suffixes)
        if(path MATCHES "_${isa}\\.c$")
            set(${out} ${isa} PARENT_SCOPE)
        endif()
    endforeach()
endfunction()

file(
    GLOB_RECURSE pare_sources
    RELATIVE "${PROJECT_SOURCE_DIR}"
    CONFIGURE_DEPENDS
    ir/*.c
    frontend/*.c
    passes/*.c
    calib/*.c
    kernels/*.c
    backends/*.c
    api/*.c)
file(
    GLOB_RECURSE pare_cli_sources
    RELATIVE "${PROJECT_SOURCE_DIR}"
    CONFIGURE_DEPENDS
    cli/*.c)

if(NOT PARE_CUDA)
    list(FILTER pare_sources EXCLUDE REGEX "^(backends|kernels)/cuda/")
endif()
if(NOT PARE_ONEDNN)
    list(FILTER pare_sources EXCLUDE REGEX "^backends/cpu/(dnnl|onednn)[^/]*\\.c$")
endif()

set(pare_isa_sources "")
foreach(source IN LISTS pare_sources)
    pare_isa_of(${source} isa)
    set(options "")
    if(source MATCHES "^kernels/" AND NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
        # No kernel reads errno or the exception flags; without them sqrt and rounding vectorize. Values stay the same.
        list(APPEND options -O3 -fno-math-errno -fno-trapping-math)
    endif()
    if(isa)
        list(APPEND options ${isa_flags_${isa}})
        list(APPEND pare_isa_sources ${source})
    endif()
    set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${options}")
endforeach()
if(NOT PARE_X86 AND pare_isa_sources)
    list(REMOVE_ITEM pare_sources ${pare_isa_sources})
endif()
