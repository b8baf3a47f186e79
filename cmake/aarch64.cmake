# Cross-compilation for aarch64 with Debian's gcc-aarch64-linux-gnu; tests run in qemu-user. PARE_AARCH64_LIBS is the folder
# that scripts/aarch64.sh unpacks the arm64 library packages into; libc is the cross compiler's own.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)

set(PARE_AARCH64_LIBS "" CACHE PATH "Unpacked arm64 packages")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES PARE_AARCH64_LIBS)
set(arm64_dirs "")
foreach(dir usr/lib/aarch64-linux-gnu lib/aarch64-linux-gnu usr/lib/aarch64-linux-gnu/openblas-pthread)
    list(APPEND arm64_dirs "${PARE_AARCH64_LIBS}/${dir}")
endforeach()
list(JOIN arm64_dirs ":" arm64_path)

set(CMAKE_FIND_ROOT_PATH "${PARE_AARCH64_LIBS}")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${PARE_AARCH64_LIBS}")
set(ENV{PKG_CONFIG_LIBDIR} "${PARE_AARCH64_LIBS}/usr/lib/aarch64-linux-gnu/pkgconfig:${PARE_AARCH64_LIBS}/usr/share/pkgconfig")

# Headers of one architecture, which a native compiler would search by itself.
set(CMAKE_C_FLAGS_INIT "-isystem ${PARE_AARCH64_LIBS}/usr/include/aarch64-linux-gnu")
string(REPLACE ";" " -Wl,-rpath-link," link_path "-Wl,-rpath-link,${arm64_dirs}")
set(CMAKE_EXE_LINKER_FLAGS_INIT "${link_path}")
set(CMAKE_SHARED_LINKER_FLAGS_INIT "${link_path}")
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu -E "LD_LIBRARY_PATH=${arm64_path}")
