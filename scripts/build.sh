# Configure and build. Sourced by ./dev.

# configure_tree DIR [CMAKE OPTION]...: DIR is below the root. Reconfigured only when the options change.
configure_tree() {
    local dir=$1
    shift
    local onednn=OFF
    if [ "$(uname -m)" = x86_64 ] || [ -n "${CMAKE_PREFIX_PATH:-}" ]; then onednn=ON; fi
    local options=(-G Ninja "-DCMAKE_PREFIX_PATH=${CMAKE_PREFIX_PATH:+$CMAKE_PREFIX_PATH;}$PREFIX"
        "-DPARE_ONEDNN=$onednn" "$@")
    if [ ! -e "$ROOT/$dir/build.ninja" ] || [ "$(cat "$ROOT/$dir/.options" 2>/dev/null)" != "${options[*]}" ]; then
        rm -rf "${ROOT:?}/$dir/CMakeCache.txt"
        cmake -S "$ROOT" -B "$ROOT/$dir" "${options[@]}" >&2
        echo "${options[*]}" >"$ROOT/$dir/.options"
    fi
}

# build_tree DIR [CMAKE OPTION]...: builds everything in it.
build_tree() {
    configure_tree "$@"
    ninja -C "$ROOT/$1" -j "$JOBS" >&2
}

run_bench() {
    [ -x "$ROOT/benchmarks/run.sh" ] || die "benchmarks/run.sh is missing"
    ninja -C "$ROOT/build" -j "$JOBS" benchmarks >&2
    PARE_BUILD="$ROOT/build" PARE_PREFIX="$PREFIX" PARE_OUT="$ROOT/build/bench" "$ROOT/benchmarks/run.sh" "$@"
}
