# pare_objects: every object once. From them: pare_internal (all symbols; the program and the tests), libpare.so and
# libpare.a (only pare_* symbols).
set(generated_dir "${PROJECT_BINARY_DIR}/generated")
file(WRITE "${generated_dir}/empty.c.in" "typedef int pare_empty_translation_unit;\n")
configure_file("${generated_dir}/empty.c.in" "${generated_dir}/empty.c" COPYONLY)

add_library(pare_objects OBJECT ${pare_sources} "${generated_dir}/empty.c")
target_compile_definitions(pare_objects PRIVATE PARE_VERSION="${PROJECT_VERSION}" PARE_BUILDING=1)
target_link_libraries(pare_objects PUBLIC pare_options pare_deps onnx_proto)

set(all_objects $<TARGET_OBJECTS:pare_objects> $<TARGET_OBJECTS:onnx_proto>)

add_library(pare_internal STATIC ${all_objects})
target_link_libraries(pare_internal PUBLIC pare_options pare_deps)
target_include_directories(pare_internal SYSTEM PUBLIC "${generated_dir}")

set(export_map "${PROJECT_SOURCE_DIR}/cmake/pare.map")
add_library(pare SHARED ${all_objects})
target_link_libraries(pare PRIVATE pare_options pare_deps)
target_link_options(pare PRIVATE "-Wl,--version-script=${export_map}" -Wl,--no-undefined)
if(PARE_SANITIZE)
    set_property(TARGET pare PROPERTY EXCLUDE_FROM_ALL ON) # a sanitizer's runtime belongs to the program
endif()
set_target_properties(
    pare
    PROPERTIES VERSION ${PROJECT_VERSION}
               SOVERSION ${PROJECT_VERSION_MAJOR}
               LINK_DEPENDS "${export_map}"
               INSTALL_RPATH "$ORIGIN/pare")
target_include_directories(pare INTERFACE "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>"
                                          "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
add_library(pare::pare ALIAS pare)

# An archive has no export list: link the objects into one and make all but pare_* local, so that a program that links
# libpare.a statically may have a graph_free() of its own.
if(NOT PARE_SANITIZE)
    set(static_object "${PROJECT_BINARY_DIR}/pare_static.o")
    set(static_archive "${PROJECT_BINARY_DIR}/libpare.a")
    add_custom_command(
        OUTPUT "${static_archive}"
        COMMAND "${CMAKE_C_COMPILER}" -r -nostdlib -o "${static_object}" ${all_objects}
        COMMAND "${CMAKE_OBJCOPY}" --wildcard "--keep-global-symbol=pare_*" "${static_object}"
        COMMAND "${CMAKE_COMMAND}" -E rm -f "${static_archive}"
        COMMAND "${CMAKE_AR}" crsD "${static_archive}" "${static_object}"
        COMMAND "${CMAKE_COMMAND}" -E rm -f "${static_object}"
        DEPENDS pare_objects onnx_proto ${all_objects}
        COMMAND_EXPAND_LISTS VERBATIM
        COMMENT "Linking libpare.a")
    add_custom_target(pare_static ALL DEPENDS "${static_archive}")
endif()

if("cli/main.c" IN_LIST pare_cli_sources)
    add_executable(pare_cli ${pare_cli_sources})
    target_compile_definitions(pare_cli PRIVATE PARE_VERSION="${PROJECT_VERSION}")
    target_link_libraries(pare_cli PRIVATE pare_internal)
    set_target_properties(pare_cli PROPERTIES OUTPUT_NAME pare INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}/pare")
else()
    message(STATUS "cli/main.c is not there yet: the program is left out")
endif()
