#!/usr/bin/env bash
# Benchmark tables: accuracy, size, latency of the labelled models, and kernels against oneDNN. Called by ./dev bench.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=${PARE_OUT:-$root/build/bench}
mkdir -p "$out"
if [ -z "${PARE_DATA:-}" ]; then
    echo "PARE_DATA is not set: it names the folder of models and labelled data" >&2
    exit 5
fi
{
    echo "CPU: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
    echo
    python3 "$root/benchmarks/tables.py" "${PARE_BUILD:-$root/build}/pare" "$PARE_DATA" "$out" "$@"
} | tee "$out/tables.md"
