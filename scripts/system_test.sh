# system_test.sh TEST.py PARE: runs one system test with the Python that ./dev test prepared.
if [ -z "${PARE_PYTHON:-}" ]; then
    echo "1..1"
    echo "ok 1 - $(basename "$1") # SKIP PARE_PYTHON is not set: run it through ./dev test"
    exit 0
fi
PARE=$2 exec "$PARE_PYTHON" "$1"
