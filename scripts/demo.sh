# The demo: the main job on the shipped model. Sourced by ./dev.

run_demo() {
    local data="$ROOT/build/demo-data" out="$ROOT/build/demo"
    python3 "$ROOT/examples/mnist/prepare.py" "$PREFIX/data/mnist_5k.csv.gz" "$data"
    "$ROOT/build/pare" optimize -m "$ROOT/examples/mnist/mnist_cnn.onnx" --calib "$data/calib.npz" \
        --eval "$data/eval.npz" -o "$out" "$@"
    echo
    echo "The report: $out/report.html (also report.md, report.json); the chosen model: $out/model.pare, $out/model.onnx"
}
