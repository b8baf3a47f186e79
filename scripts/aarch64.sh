# The plain C parts on aarch64: cross-compiled, run in qemu-user. Sourced by ./dev.

APT_AARCH64="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
ARM64_LIBRARIES="libprotobuf-c-dev libjansson-dev libzstd-dev libjpeg62-turbo-dev libspng-dev libzip-dev libxxhash-dev
    nettle-dev libopenblas-dev liblapacke-dev libcmocka-dev"
# Come with the cross compiler, and must not be found twice.
ARM64_LIBC="libc6 libc6-dev libc-dev-bin linux-libc-dev libcrypt-dev libcrypt1 libgcc-s1"

# install_arm64_libraries DIR: downloads the arm64 packages with all they depend on, and unpacks them below DIR. An apt
# state of its own keeps the machine's list of architectures as it is.
install_arm64_libraries() {
    local dir=$1 apt deb name options
    [ -e "$dir/.complete" ] && return 0
    rm -rf "$dir"
    apt="$dir/apt"
    mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
    : >"$apt/status"
    options=(-q -y -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State=$apt/state"
        -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache" -o APT::Install-Recommends=false
        -o Debug::NoLocking=true -o APT::Sandbox::User= -o Acquire::Retries=4)
    say "fetching the arm64 libraries"
    retry apt-get "${options[@]}" update >&2 || die "apt-get update for arm64 failed"
    # shellcheck disable=SC2086
    retry apt-get "${options[@]}" --download-only install $ARM64_LIBRARIES >&2 || die "could not download arm64 packages"
    for deb in "$apt"/cache/archives/*.deb; do
        name=$(dpkg-deb -f "$deb" Package)
        case " $ARM64_LIBC " in *" $name "*) continue ;; esac
        dpkg-deb -x "$deb" "$dir"
    done
    rm -rf "$apt"
    : >"$dir/.complete"
}

run_aarch64_tests() {
    local libs="$PREFIX/aarch64"
    install_for aarch64
    install_arm64_libraries "$libs"
    configure_tree build-aarch64 "-DCMAKE_TOOLCHAIN_FILE=$ROOT/cmake/aarch64.cmake" "-DPARE_AARCH64_LIBS=$libs" \
        -DPARE_ONEDNN=OFF "-DONNX_PROTO_DIR=$PREFIX/include/onnx"
    ninja -C "$ROOT/build-aarch64" -j "$JOBS" >&2
    # Programs that start pare as a process cannot in qemu-user; data of real size takes too long there.
    unset PARE_DATA
    export CMOCKA_MESSAGE_OUTPUT=TAP OPENBLAS_NUM_THREADS=1 PARE_TEST_FULL=0
    ctest_run build-aarch64 -LE '^(full|cli|native)$'
    report_tests build-aarch64
}
