# The tests: build and run in three builds, one closing line. Sourced by ./dev.

# ctest_run DIR CTEST-ARGUMENT...: runs quietly, full output in DIR/tests.log.
ctest_run() {
    local dir=$1
    shift
    say "running the tests of $dir"
    ctest --test-dir "$ROOT/$dir" -j "$JOBS" -V "$@" >"$ROOT/$dir/tests.log" 2>&1 || true
}

# tsan_targets DIR: programs of the tests labelled tsan.
tsan_targets() {
    ctest --test-dir "$ROOT/$1" -N -L '^tsan$' | sed -n 's/^ *Test *#[0-9]*: \([^.]*\)\.\(.*\)$/test_\1_\2/p'
}

run_tests() {
    local full=0 selection=(-LE '^full$') wrap=()
    case "${1:-}" in
        "") ;;
        --full) full=1 selection=() ;;
        --aarch64) run_aarch64_tests; return ;;
        *) die "test: unknown option '$1'" ;;
    esac
    install_for test
    if [ -n "${PARE_DATA:-}" ]; then
        [ -d "$PARE_DATA" ] || die "PARE_DATA: no such folder: $PARE_DATA"
        PARE_DATA=$(cd "$PARE_DATA" && pwd)
        export PARE_DATA
    elif [ "${PARE_REQUIRE_DATA:-0}" = 1 ]; then
        die "PARE_REQUIRE_DATA=1, but PARE_DATA is not set: set it to the folder of models and labelled data"
    else
        say "PARE_DATA is not set: tests that need its models and labelled data are skipped"
    fi
    export PARE_TEST_FULL=$full PARE_MODELS="$PREFIX/models" PARE_PYTHON="$PREFIX/venv/bin/python"
    export PARE_DEMO_DATA="$ROOT/build/demo-data"
    export CMOCKA_MESSAGE_OUTPUT=TAP OPENBLAS_NUM_THREADS=1
    python3 "$ROOT/examples/mnist/prepare.py" "$PREFIX/data/mnist_5k.csv.gz" "$PARE_DEMO_DATA"

    build_tree build
    ctest_run build "${selection[@]}"

    build_tree build-asan -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 -DPARE_SANITIZE=address,undefined
    # Not detect_stack_use_after_return: gcc 12 then places over-aligned local vectors unaligned (its bug 110027).
    ASAN_OPTIONS=allocator_may_return_null=1:detect_stack_use_after_return=0 UBSAN_OPTIONS=print_stacktrace=1 \
        LSAN_OPTIONS=suppressions=$ROOT/scripts/lsan.supp ctest_run build-asan "${selection[@]}"

    configure_tree build-tsan -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 -DPARE_SANITIZE=thread
    local targets
    ninja -C "$ROOT/build-tsan" build.ninja >&2 # sees new test files
    targets=$(tsan_targets build-tsan)
    if [ -n "$targets" ]; then
        # shellcheck disable=SC2086
        ninja -C "$ROOT/build-tsan" -j "$JOBS" $targets >&2
        # gcc 12's ThreadSanitizer does not know the address layouts of newest kernels.
        if setarch "$(uname -m)" -R true 2>/dev/null; then wrap=(setarch "$(uname -m)" -R); fi
        TSAN_OPTIONS=ignore_noninstrumented_modules=1:suppressions=$ROOT/scripts/tsan.supp \
            ctest_run build-tsan -L '^tsan$' "${selection[@]}"
    fi
    report_tests build build-asan build-tsan
}

# report_tests DIR...: failures in full, then the closing line. A test counts once; it fails if it fails in any build.
report_tests() {
    local dir logs=()
    for dir in "$@"; do
        if [ -e "$ROOT/$dir/tests.log" ]; then logs+=("$ROOT/$dir/tests.log"); fi
    done
    awk -f "$ROOT/scripts/count_tests.awk" "${logs[@]}"
}

# run_fuzz NAME [SECONDS]: libFuzzer on one target, from its corpus; new inputs stay in build-fuzz/corpus/NAME.
run_fuzz() {
    local name=${1:-} seconds=${2:-60}
    if [ -z "$name" ] || [ ! -e "$ROOT/tests/fuzz/fuzz_$name.c" ]; then
        die "fuzz: name one of: $(cd "$ROOT/tests/fuzz" && echo fuzz_*.c | sed 's/fuzz_//g; s/\.c//g')"
    fi
    install_for fuzz
    configure_tree build-fuzz -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 \
        -DPARE_SANITIZE=address,undefined -DPARE_FUZZ=ON
    ninja -C "$ROOT/build-fuzz" -j "$JOBS" "fuzz_$name" >&2
    mkdir -p "$ROOT/build-fuzz/corpus/$name"
    local folders=("$ROOT/build-fuzz/corpus/$name")
    if [ -d "$ROOT/tests/fuzz/corpus/$name" ]; then folders+=("$ROOT/tests/fuzz/corpus/$name"); fi
    "$ROOT/build-fuzz/tests/fuzz_$name" -max_total_time="$seconds" -artifact_prefix="$ROOT/build-fuzz/" "${folders[@]}"
}
