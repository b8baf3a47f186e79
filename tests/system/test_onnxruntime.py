"""Whole models against ONNX Runtime: fp32 outputs, and the integer model in both programs."""
import glob
import os
import sys

import numpy as np
import onnx
import onnxruntime as ort

import harness as h
from harness import IMAGENET, data, demo, folder, need, pare

DTYPES = {1: np.float32, 6: np.int32, 7: np.int64}


def session(path):
    o = ort.SessionOptions()
    o.log_severity_level = 4
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    return ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])


def inputs_of(path, shapes, n):
    """Seeded inputs: n samples along the first axis of every input; sizes without a number come from `shapes`."""
    m = onnx.load(path, load_external_data=False)
    constants = {i.name for i in m.graph.initializer}
    r = np.random.default_rng(7)
    feeds = {}
    for i in m.graph.input:
        if i.name in constants:
            continue
        dims = shapes.get(i.name) or [d.dim_value or 1 for d in i.type.tensor_type.shape.dim]
        t = DTYPES[i.type.tensor_type.elem_type]
        feeds[i.name] = (r.standard_normal([n] + dims) if t == np.float32 else r.integers(0, 100, [n] + dims)).astype(t)
    return feeds


def compare(path, shapes=None, n=2, extra=()):
    """Largest error of every output in units of its range <= 1e-4, top-1 equal."""
    feeds = inputs_of(path, shapes or {}, n)
    s = session(path)
    names = [o.name for o in s.get_outputs()]
    want = [s.run(None, {k: v[i] for k, v in feeds.items()}) for i in range(n)]
    with folder() as d:
        np.savez(f"{d}/x.npz", **feeds)
        pare("run", "-m", path, "--input", f"{d}/x.npz", "--output", f"{d}/y.npz", *extra)
        got = np.load(f"{d}/y.npz")
        for k, name in enumerate(names):
            w = np.stack([x[k] for x in want]).astype(np.float64)
            g = got[name].reshape(w.shape).astype(np.float64)
            error = np.abs(g - w).max() / max(np.ptp(w), 1e-30)
            assert error <= 1e-4, f"{os.path.basename(path)} output {name}: error {error:.2e} of the range"
            assert (g.reshape(n, -1).argmax(1) == w.reshape(n, -1).argmax(1)).all()


def shared(name, **kw):
    compare(data(f"models/{name}.onnx"), **kw)


def packaged(pattern, **kw):
    found = sorted(glob.glob(os.path.join(h.MODELS or "", "**", pattern), recursive=True))
    compare(need(found[0] if found else None, "run it through ./dev test, which installs the models that PyPI packages carry"), **kw)


def test_mnist_example():
    compare(h.MNIST)


def test_resnet20():
    shared("resnet20_cifar10")


def test_squeezenet():
    shared("squeezenet1.1_imagenet")


def test_mobilenetv2():
    shared("mobilenetv2_imagenet")


def test_keyword_dscnn():
    shared("kws_dscnn")


def test_keyword_transformer():
    shared("kwt1_speech_commands12")


def test_mnist_8():
    shared("mnist_8")


def test_super_resolution():
    shared("super_resolution_10", n=1)


def test_ultraface():
    shared("ultraface_rfb_320")


def test_visual_wake_words():
    shared("vww_mobilenetv1_96")


def test_autoencoder():
    shared("ad_autoencoder")


def test_ppocr_detector():
    packaged("ch_PP-OCRv4_det_infer.onnx", shapes={"x": [1, 3, 160, 224]}, n=1)


def test_ppocr_recogniser():
    packaged("ch_PP-OCRv4_rec_infer.onnx", shapes={"x": [1, 3, 48, 320]}, n=1)


def test_ppocr_classifier():
    packaged("ch_ppocr_mobile_v2.0_cls_infer.onnx", shapes={"x": [1, 3, 48, 192]}, n=1)


def test_magika():
    found = sorted(glob.glob(os.path.join(h.MODELS or "", "**", "*agika*", "**", "model.onnx"), recursive=True))
    compare(need(found[0] if found else None, "run it through ./dev test, which installs the models that PyPI packages carry"))


def test_integer_model_in_onnx_runtime():
    """Q/DQ written by pare, run by both. Weights of 7 bits, so that no runtime saturates on any CPU; results may differ by
    roundings of single codes, so predictions are compared."""
    with folder() as d:
        for model, calib, evaluation, name in ((h.MNIST, demo("calib.npz"), demo("eval.npz"), "input"),
                                               (data("models/kws_dscnn.onnx"), data("kws/calib.npz"), data("kws/eval.npz"), "input")):
            pare("quantize", "-m", model, "-o", f"{d}/q.onnx", "--calib", calib, "--reduce-range")
            onnx.checker.check_model(f"{d}/q.onnx", full_check=True)
            pare("run", "-m", f"{d}/q.onnx", "--input", evaluation, "--output", f"{d}/y.npz")
            x = np.load(evaluation)[name]
            s = session(f"{d}/q.onnx")
            out = s.get_outputs()[0].name
            w, g = s.run([out], {name: x})[0], np.load(f"{d}/y.npz")[out]
            assert (w.argmax(1) == g.argmax(1)).mean() >= 0.995
            assert np.abs(w - g).max() <= 0.05 * np.ptp(w), np.abs(w - g).max() / np.ptp(w)


def test_tensorrt_form_is_symmetric():
    with folder() as d:
        pare("quantize", "-m", h.MNIST, "-o", f"{d}/q.onnx", "--calib", demo("calib.npz"), "--qdq", "tensorrt")
        m = onnx.load(f"{d}/q.onnx")
        zeros = {i.name: onnx.numpy_helper.to_array(i) for i in m.graph.initializer}
        pairs = [n for n in m.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
        assert pairs and all((zeros[n.input[2]] == 0).all() and zeros[n.input[2]].dtype == np.int8 for n in pairs)
        x = np.load(demo("eval.npz"))
        top1 = (session(f"{d}/q.onnx").run(None, {"input": x["input"]})[0].argmax(1) == x["labels"]).mean()
        assert top1 > 0.97


if __name__ == "__main__":
    h.main(sys.modules[__name__])
