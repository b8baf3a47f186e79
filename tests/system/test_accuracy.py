"""int8 with default options keeps accuracy on real labelled data (bounds of docs/benchmarks.md)."""
import os
import sys

import harness as h
from harness import IMAGENET, Skip, data, folder, pare, pare_json

FULL = os.environ.get("PARE_TEST_FULL") == "1"


def drop(model, calib, evaluation, flags=(), calib_samples=200, eval_samples=0, size=None):
    """Points of top-1 lost by int8; checks the size of the compiled file too."""
    if h.sanitized():
        raise Skip("the plain build measures accuracy; a sanitized one would take many minutes for the same numbers")
    limit = ["--samples", eval_samples] if eval_samples and not FULL else []
    with folder() as d:
        pare("quantize", "-m", model, "-o", f"{d}/q.pare", "--calib", calib, "--samples", calib_samples, *flags)
        if size:
            ratio = os.path.getsize(f"{d}/q.pare") / os.path.getsize(model)
            assert ratio <= size, ratio
        j = pare_json("eval", "-m", f"{d}/q.pare", "--data", evaluation, "--against", model, *flags, *limit)
        return -j["difference"]["value"]


def test_resnet20():
    lost = drop(data("models/resnet20_cifar10.onnx"), data("cifar10/calib"), data("cifar10/eval"), IMAGENET, 512, 4000, 0.28)
    assert lost <= 0.3, lost


def test_squeezenet():
    flags = IMAGENET + ["--crop", "224"]
    lost = drop(data("models/squeezenet1.1_imagenet.onnx"), data("imagenet/calib"), data("imagenet/eval"), flags, size=0.28)
    assert lost <= 1.0, lost


def test_mobilenetv2():
    flags = ["--mean", "127.5", "--std", "127.5", "--crop", "224", "--label-offset", "1"]
    lost = drop(data("models/mobilenetv2_imagenet.onnx"), data("imagenet/calib"), data("imagenet/eval"), flags, size=0.28)
    assert lost <= 1.5, lost


def test_keyword_dscnn():
    lost = drop(data("models/kws_dscnn.onnx"), data("kws/calib.npz"), data("kws/eval.npz"))
    assert lost <= 0.5, lost


def test_keyword_transformer():
    lost = drop(data("models/kwt1_speech_commands12.onnx"), data("speech/calib.npz"), data("speech/eval.npz"), calib_samples=100)
    assert lost <= 1.5, lost


if __name__ == "__main__":
    h.main(sys.modules[__name__])
