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
    # One file a process: version 14 mixes up va_list between files. Files without compile command are of another
    # architecture.
    # The analyzer sees one file at a time and does not know that a made error is never NULL. Following calls into such
    # a function, it takes each failure for a success that leaves the output arguments unset: so ipa=none.
    local args=(-Wno-unknown-warning-option -Xclang -analyzer-config -Xclang ipa=none)
    c_files | grep -F -x -f <(compiled_files) |
        xargs -r -P "$JOBS" -n 1 clang-tidy -p build --quiet "${args[@]/#/--extra-arg=}" || failed=1
    say "cppcheck"
    cppcheck --project=build/compile_commands.json --quiet --error-exitcode=1 -j "$JOBS" --inline-suppr \
        --enable=warning,performance,portability --suppressions-list=scripts/cppcheck.supp \
        --cppcheck-build-dir="$(mkdir -p build/cppcheck && echo build/cppcheck)" || failed=1
    [ "$failed" = 0 ] && say "lint: clean"
    return "$failed"
}

compiled_files() { sed -n "s|^ *\"file\": \"$ROOT/\(.*\)\",\{0,1\}\$|\1|p" "$ROOT/build/compile_commands.json" | sort -u; }
