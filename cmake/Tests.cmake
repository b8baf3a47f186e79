# One program a tests/**/test_*.c. A test is named folder.name and labelled with its folder; more labels come from a
# line "// ctest: LABEL ..." in the file: "tsan" = also run under ThreadSanitizer, "full" = only in ./dev test --full.
pkg_check_modules(cmocka REQUIRED IMPORTED_TARGET cmocka)

file(
    GLOB_RECURSE test_sources
    RELATIVE "${PROJECT_SOURCE_DIR}"
    CONFIGURE_DEPENDS
    tests/test_*.c)
file(
    GLOB support_sources
    RELATIVE "${PROJECT_SOURCE_DIR}"
    CONFIGURE_DEPENDS
    tests/support/*.c)
file(
    GLOB fuzz_sources
    RELATIVE "${PROJECT_SOURCE_DIR}"
    CONFIGURE_DEPENDS
    tests/fuzz/fuzz_*.c)

add_library(pare_test_support STATIC ${support_sources} "${generated_dir}/empty.c")
target_link_libraries(pare_test_support PUBLIC pare_internal PkgConfig::cmocka)
target_compile_definitions(
    pare_test_support PUBLIC PARE_SOURCE_DIR="${PROJECT_SOURCE_DIR}" PARE_BUILD_DIR="${PROJECT_BINARY_DIR}"
                             PARE_PROGRAM="${PROJECT_BINARY_DIR}/pare")
target_include_directories(pare_test_support PUBLIC "${PROJECT_SOURCE_DIR}/tests")

# Kernels of instruction sets that this machine may lack, a second time on SIMDe without any -m flag.
# AMX has no emulation in SIMDe.
set(simde_sources ${pare_isa_sources})
list(FILTER simde_sources EXCLUDE REGEX "_amx[^/]*\\.c$")
if(PARE_X86 AND simde_sources)
    find_path(SIMDE_INCLUDE_DIR simde/x86/avx512.h REQUIRED)
    set(simde_copies "")
    foreach(source IN LISTS simde_sources)
        # A copy of the path, because flags belong to a path and the library's own build has -m flags on this one.
        set(copy "${generated_dir}/simde/${source}")
        file(CONFIGURE OUTPUT "${copy}" CONTENT "#include \"@source@\"\n" @ONLY)
        list(APPEND simde_copies "${copy}")
    endforeach()
    add_library(pare_simde STATIC ${simde_copies})
    target_compile_definitions(pare_simde PRIVATE PARE_SIMDE=1)
    # -Wno-psabi: 32-byte vectors by value without -mavx are only a remark. -Og: from -O1 on, gcc needs minutes and
    # gigabytes for unrolled kernels whose every intrinsic is a loop.
    target_compile_options(pare_simde PRIVATE -Og -g0 -Wno-psabi)
    if(PARE_SANITIZE MATCHES "undefined")
        # SIMDe computes wrapping vector sums with signed integers.
        target_compile_options(pare_simde PRIVATE -fno-sanitize=signed-integer-overflow)
    endif()
    target_include_directories(pare_simde SYSTEM PRIVATE "${SIMDE_INCLUDE_DIR}")
    target_link_libraries(pare_simde PUBLIC pare_options pare_deps)
endif()

# pare_test_properties(name source folder): folder, environment and labels common to all tests.
function(pare_test_properties name source folder)
    file(STRINGS "${source}" marks REGEX "^(//|/\\*) ctest: ")
    string(REGEX REPLACE "(//|/\\*) ctest: |\\*/" "" marks "${marks}")
    separate_arguments(marks)
    if(folder MATCHES "^(backends|exec)$")
        list(APPEND marks tsan)
    endif()
    set_tests_properties(
        ${name}
        PROPERTIES LABELS "${folder};${marks}"
                   WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}"
                   SKIP_RETURN_CODE 77
                   TIMEOUT 600)
endfunction()

foreach(source IN LISTS test_sources)
    get_filename_component(folder "${source}" DIRECTORY)
    string(REGEX REPLACE "^tests/?" "" folder "${folder}")
    string(REPLACE "/" "_" folder "${folder}")
    get_filename_component(stem "${source}" NAME_WE)
    string(REGEX REPLACE "^test_" "" stem "${stem}")
    if(NOT folder)
        set(folder top)
    endif()
    set(target test_${folder}_${stem})
    add_executable(${target} ${source})
    set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    if(folder MATCHES "^kernels" AND TARGET pare_simde)
        target_link_libraries(${target} PRIVATE pare_simde)
        target_compile_definitions(${target} PRIVATE PARE_HAVE_SIMDE=1)
    endif()
    target_link_libraries(${target} PRIVATE pare_test_support)
    if(TARGET pare_cli)
        add_dependencies(${target} pare_cli)
    endif()
    add_test(NAME ${folder}.${stem} COMMAND ${target})
    pare_test_properties(${folder}.${stem} "${source}" ${folder})
endforeach()

# Fuzz targets: libFuzzer with PARE_FUZZ, else a program that replays the committed corpus tests/fuzz/corpus/NAME.
foreach(source IN LISTS fuzz_sources)
    get_filename_component(target "${source}" NAME_WE)
    string(REGEX REPLACE "^fuzz_" "" stem "${target}")
    add_executable(${target} ${source})
    if(PARE_FUZZ)
        target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    else()
        target_sources(${target} PRIVATE tests/fuzz/replay.c)
        add_test(NAME fuzz.${stem} COMMAND ${target} "${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${stem}")
        pare_test_properties(fuzz.${stem} "${source}" fuzz)
    endif()
    set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    target_link_libraries(${target} PRIVATE pare_test_support)
endforeach()

# Benchmark programs, built on demand: ninja benchmarks.
file(
    GLOB bench_sources
    RELATIVE "${PROJECT_SOURCE_DIR}"
    CONFIGURE_DEPENDS
    benchmarks/bench_*.c)
add_custom_target(benchmarks)
foreach(source IN LISTS bench_sources)
    get_filename_component(target "${source}" NAME_WE)
    add_executable(${target} EXCLUDE_FROM_ALL ${source})
    target_link_libraries(${target} PRIVATE pare_internal)
    set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/benchmarks")
    add_dependencies(benchmarks ${target})
endforeach()

# System tests: Python programs that print TAP. They need the environment that ./dev test makes (PARE_PYTHON); without it
# they are reported as skipped. The program's folder is the build's.
file(
    GLOB system_tests
    RELATIVE "${PROJECT_SOURCE_DIR}"
    CONFIGURE_DEPENDS
    tests/system/test_*.py)
if(TARGET pare_cli)
    foreach(source IN LISTS system_tests)
        get_filename_component(target "${source}" NAME_WE)
        string(REGEX REPLACE "^test_" "" stem "${target}")
        add_test(NAME system.${stem} COMMAND sh "${PROJECT_SOURCE_DIR}/scripts/system_test.sh"
                                             "${PROJECT_SOURCE_DIR}/${source}" $<TARGET_FILE:pare_cli>)
        pare_test_properties(system.${stem} "${source}" system)
        set_tests_properties(system.${stem} PROPERTIES TIMEOUT 1500)
    endforeach()
endif()
