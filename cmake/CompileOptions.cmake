# Language level, warnings and sanitizers of everything that is ours.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)

add_library(pare_options INTERFACE)
target_compile_definitions(pare_options INTERFACE _GNU_SOURCE)
target_include_directories(pare_options INTERFACE "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/include")
# Contracted multiply-adds would round differently from one instruction set to the next.
target_compile_options(pare_options INTERFACE -ffp-contract=off)
target_compile_options(
    pare_options
    INTERFACE -Wall
              -Wextra
              -Werror
              -Wconversion
              -Wshadow
              -Wvla
              -Wundef
              -Wpointer-arith
              -Wwrite-strings
              -Wstrict-prototypes
              -Wmissing-prototypes
              -Wold-style-definition
              -Wimplicit-fallthrough
              -Wformat=2)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    # gcc does not see that a function which returns success has set its output parameters (every TRY would warn);
    # clang-tidy's and cppcheck's analysis of uninitialized values stays on.
    target_compile_options(pare_options INTERFACE -Wlogical-op -Wduplicated-cond -Wduplicated-branches
                                                  -Wno-maybe-uninitialized)
endif()

if(PARE_SANITIZE)
    set(sanitize_flags -fsanitize=${PARE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_compile_options(pare_options INTERFACE ${sanitize_flags})
    target_link_options(pare_options INTERFACE ${sanitize_flags})
    target_compile_definitions(pare_options INTERFACE PARE_SANITIZE=1)
    # UBSan's rewriting of shifts makes gcc see conversions that the source does not have; the plain build has this on.
    target_compile_options(pare_options INTERFACE -Wno-sign-conversion)
elseif(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
    # Files are untrusted input. The sanitizers bring checks of their own, and -O0 knows no fortification.
    target_compile_options(pare_options INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong)
    target_link_options(pare_options INTERFACE -Wl,-z,relro,-z,now)
endif()

if(PARE_FUZZ)
    target_compile_options(pare_options INTERFACE -fsanitize=fuzzer-no-link) # coverage for the fuzzer
    target_link_options(pare_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
    set(PARE_X86 ON)
    target_compile_definitions(pare_options INTERFACE PARE_X86=1)
else()
    set(PARE_X86 OFF)
    target_compile_definitions(pare_options INTERFACE PARE_X86=0)
endif()
