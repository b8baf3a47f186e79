# Libraries that pare is built on. pare_deps carries all of them; which room of the tree may include which header is
# a rule of the source tree, not of the linker.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

set(PARE_PACKAGES libprotobuf-c jansson libzstd libjpeg spng libzip libxxhash nettle)
pkg_check_modules(pare_pkgs REQUIRED IMPORTED_TARGET ${PARE_PACKAGES})

# OpenBLAS sits in a folder of its threading flavour, and LAPACKE has no .pc file on every distribution.
find_path(OPENBLAS_INCLUDE_DIR cblas.h PATH_SUFFIXES openblas openblas-pthread openblas-openmp openblas-serial REQUIRED)
find_library(OPENBLAS_LIBRARY openblas PATH_SUFFIXES openblas-pthread openblas-openmp openblas-serial REQUIRED)
find_path(LAPACKE_INCLUDE_DIR lapacke.h PATH_SUFFIXES lapacke REQUIRED)
find_library(LAPACKE_LIBRARY lapacke REQUIRED)

add_library(pare_deps INTERFACE)
target_include_directories(pare_deps SYSTEM INTERFACE "${OPENBLAS_INCLUDE_DIR}" "${LAPACKE_INCLUDE_DIR}")
target_link_libraries(
    pare_deps INTERFACE PkgConfig::pare_pkgs "${LAPACKE_LIBRARY}" "${OPENBLAS_LIBRARY}" Threads::Threads m
                        ${CMAKE_DL_LIBS})

if(PARE_ONEDNN)
    find_package(dnnl 3.2 CONFIG REQUIRED)
    # The imported target knows only "Release"; every build type takes that one.
    set_target_properties(DNNL::dnnl PROPERTIES MAP_IMPORTED_CONFIG_RELWITHDEBINFO Release
                                                MAP_IMPORTED_CONFIG_DEBUG Release)
    target_link_libraries(pare_deps INTERFACE DNNL::dnnl)
    # Its threads come from OpenMP; the backend holds them at one (backends/cpu/onednn.c).
    find_package(OpenMP REQUIRED COMPONENTS C)
    target_link_libraries(pare_deps INTERFACE ${OpenMP_C_LIBRARIES})
    target_compile_definitions(pare_deps INTERFACE PARE_ONEDNN=1)
else()
    target_compile_definitions(pare_deps INTERFACE PARE_ONEDNN=0)
endif()

if(PARE_CUDA)
    find_package(CUDAToolkit REQUIRED)
    target_link_libraries(pare_deps INTERFACE CUDA::nvrtc CUDA::cuda_driver)
    target_compile_definitions(pare_deps INTERFACE PARE_CUDA=1)
else()
    target_compile_definitions(pare_deps INTERFACE PARE_CUDA=0)
endif()
