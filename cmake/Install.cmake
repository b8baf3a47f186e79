# Installed: the program, libpare (shared and static), the header, a CMake package (pare::pare, pare::pare_static), a
# pkg-config file, and beside the library the oneDNN that it was built with.
include(CMakePackageConfigHelpers)

if(PARE_SANITIZE)
    return()
endif()
set(config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/pare")

install(TARGETS pare EXPORT pareTargets LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(FILES "${PROJECT_BINARY_DIR}/libpare.a" DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(DIRECTORY include/pare DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" OPTIONAL)
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")
if(TARGET pare_cli)
    install(TARGETS pare_cli RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
if(PARE_ONEDNN)
    install(FILES "$<TARGET_FILE:DNNL::dnnl>" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pare"
            RENAME "$<TARGET_SONAME_FILE_NAME:DNNL::dnnl>")
endif()

# What a static link needs besides. oneDNN goes by its full name, as no development link to it is installed.
list(JOIN PARE_PACKAGES " " PARE_STATIC_PACKAGES)
set(PARE_STATIC_LIBS lapacke openblas pthread m dl)
set(PARE_STATIC_ONEDNN "")
if(PARE_ONEDNN)
    get_target_property(PARE_STATIC_ONEDNN DNNL::dnnl IMPORTED_SONAME_RELEASE)
    list(APPEND PARE_STATIC_LIBS gomp)
endif()

install(EXPORT pareTargets NAMESPACE pare:: DESTINATION "${config_dir}")
configure_package_config_file(cmake/pareConfig.cmake.in "${PROJECT_BINARY_DIR}/pareConfig.cmake"
                              INSTALL_DESTINATION "${config_dir}"
                              PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/pareConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/pareConfig.cmake" "${PROJECT_BINARY_DIR}/pareConfigVersion.cmake"
        DESTINATION "${config_dir}")

set(PARE_STATIC_FLAGS "-l${PARE_STATIC_LIBS}")
string(REPLACE ";" " -l" PARE_STATIC_FLAGS "${PARE_STATIC_FLAGS}")
if(PARE_ONEDNN)
    string(APPEND PARE_STATIC_FLAGS " -L\${libdir}/pare -l:${PARE_STATIC_ONEDNN} -Wl,-rpath,\${libdir}/pare")
endif()
# The .pc file finds the prefix from where it lies itself, so that an installed tree can be moved.
file(RELATIVE_PATH PARE_PC_PREFIX "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" PARE_PC_PREFIX "${PARE_PC_PREFIX}")
configure_file(cmake/pare.pc.in "${PROJECT_BINARY_DIR}/pare.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/pare.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
