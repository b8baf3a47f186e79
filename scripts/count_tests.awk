# Reads logs of "ctest -V" whose cmocka programs printed TAP; prints the failed tests' output and, last,
# "N passed, N failed, N skipped". A program without TAP output counts as one test. The same test in several logs counts
# once, with its worst result.

function record(key, status) { # status: 1 skipped, 2 passed, 3 failed
    if (status > result[key]) result[key] = status
}

function finish_log(    id) {
    for (id in name) {
        if (!(id in outcome)) {
            record(name[id] " (never finished)", 3)
            failed_output[name[id] " in " log_name] = text[id]
        }
    }
    split("", name); split("", text); split("", outcome); split("", cases); split("", bad); split("", group)
}

FNR == 1 {
    if (log_name != "") finish_log()
    log_name = FILENAME
    logs++
}

/^ +Start +[0-9]+: / {
    id = $2; sub(/:$/, "", id)
    name[id] = $3
    next
}

/^[0-9]+: / {
    id = $1; sub(/:$/, "", id)
    line = substr($0, length($1) + 2)
    text[id] = text[id] "    " line "\n"
    if (line ~ /^1\.\.[0-9]+/) group[id]++
    else if (line ~ /^ok [0-9]+/) { sub(/^ok [0-9]+ (- )?/, "", line); status = line ~ / # SKIP/ ? 1 : 2; sub(/ # SKIP.*/, "", line) }
    else if (line ~ /^not ok [0-9]+ # SKIP/) { sub(/^not ok [0-9]+ # SKIP */, "", line); status = 1 }
    else if (line ~ /^not ok/) { sub(/^not ok *[0-9]* *-? */, "", line); status = 3; bad[id] = 1 }
    else next
    if (line ~ /^1\.\./) next
    cases[id]++
    record(name[id] "/" group[id] "/" line, status)
    next
}

/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: / {
    match($0, /#[0-9]+:/)
    id = substr($0, RSTART + 1, RLENGTH - 2)
    outcome[id] = 1
    if ($0 ~ /\*\*\*Skipped/) record(name[id], 1)
    else if ($0 ~ / Passed /) { if (!cases[id]) record(name[id], 2) }
    else {
        if (!bad[id]) record(name[id] (cases[id] ? " (program)" : ""), 3)
        failed_output[name[id] " in " log_name] = text[id] "    " $0 "\n"
    }
}

END {
    finish_log()
    for (key in failed_output) printf "FAILED %s\n%s", key, failed_output[key]
    for (key in result) count[result[key]]++
    if (logs == 0 || count[2] + count[3] == 0) { print "no test was run"; count[3]++ }
    printf "%d passed, %d failed, %d skipped\n", count[2], count[3], count[1]
    exit count[3] > 0
}
