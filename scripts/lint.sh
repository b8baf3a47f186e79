# Formatting and static analysis. Sourced by ./dev.

c_files() { git -C "$ROOT" ls-files --cached --others --exclude-standard -- '*.c' '*.h'; }

run_format() { (cd "$ROOT" && c_files | xargs -r clang-format -i); }

run_lint() {
    local failed=0
    ninja -C "$ROOT/build" generated/onnx.pb-c.h >&2
    cd "$ROOT"
    say "clang-format"
    c_files | xargs -r clang-format --dry-run -Werror || failed=1
    say "clang-tidy"
    # Only files of this machine's build: those of other instruction sets have no entry in the compile commands.
    c_files | grep '\.c$' | grep -F -x -f <(compiled_files) |
        xargs -r -P "$JOBS" -n 4 clang-tidy -p build --quiet --extra-arg=-Wno-unknown-warning-option || failed=1
    say "cppcheck"
    cppcheck --project=build/compile_commands.json --quiet --error-exitcode=1 -j "$JOBS" --inline-suppr \
        --enable=warning,performance,portability --suppressions-list=scripts/cppcheck.supp \
        --cppcheck-build-dir="$(mkdir -p build/cppcheck && echo build/cppcheck)" || failed=1
    [ "$failed" = 0 ] && say "lint: clean"
    return "$failed"
}

compiled_files() { sed -n "s|^ *\"file\": \"$ROOT/\(.*\)\",\{0,1\}\$|\1|p" "$ROOT/build/compile_commands.json" | sort -u; }
