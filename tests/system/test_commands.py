"""The commands end to end on the shipped example, and what they say to wrong input."""
import filecmp
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np

import harness as h
from harness import MNIST, demo, folder, pare, pare_json

COMMANDS = ["inspect", "run", "eval", "bench", "quantize", "compile", "optimize"]


def test_help_of_every_command_has_an_example():
    out, _ = pare("--help")
    for c in COMMANDS:
        assert c in out
        text, _ = pare(c, "--help")
        assert f"example: pare {c}" in text and "--json" in text and "--seed" in text


def test_usage_errors_exit_2():
    for args in (["nonsense"], ["bench"], ["bench", "-m", MNIST, "--bacth", "2"], ["bench", "-m", MNIST, "--batch", "two"],
                 ["bench", "-m", MNIST, "--batch"], ["eval", "-m", MNIST], ["compile", "-m", MNIST, "-o", "x.bin"],
                 ["compile", "-m", MNIST, "-o", "x.pare", "--precision", "int7"], ["quantize", "-m", MNIST, "-o", "q.onnx"],
                 ["optimize", "-m", MNIST, "-o", "d", "--max-drop", "1", "--random-calib"], ["inspect", "-m", MNIST, "extra"],
                 ["bench", "-m", MNIST, "--shape", "nobody:1x2"], ["quantize", "-m", MNIST, "-o", "q.onnx", "--random-calib", "--calibrator", "magic"],
                 ["quantize", "-m", MNIST, "-o", "q.onnx", "--random-calib", "--exclude-node", "("], ["bench", "-m", MNIST, "--threads", "-3"]):
        with folder() as d:
            _, err = pare(*args, code=2, cwd=d)
            assert err.startswith("pare: ") and len(err.strip().splitlines()) == 1, err
            assert not os.listdir(d), os.listdir(d)


def test_inspect():
    j = pare_json("inspect", "-m", MNIST)
    assert j["inputs"][0]["name"] == "input" and j["inputs"][0]["shape"][1:] == [1, 28, 28] and j["ops"]["Conv"] >= 4
    assert j["macs"] > 1e6 and j["parameters"] > 10000 and j["unsupported"] == []
    text, _ = pare("inspect", "-m", MNIST, "--text", "-")
    assert "Conv" in text and text.startswith("graph")
    dot, _ = pare("inspect", "-m", MNIST, "--dot", "-")
    assert dot.startswith("digraph") and "->" in dot
    assert all(len(line) <= 80 for line in pare("inspect", "-m", MNIST)[0].splitlines()[1:])


def test_run_is_the_same_on_both_backends_and_from_the_artifact():
    with folder() as d:
        x = os.path.join(d, "x.npz")
        np.savez(x, input=np.load(demo("eval.npz"))["input"][:8])
        pare("compile", "-m", MNIST, "-o", f"{d}/m.pare")
        for name, model, backend in (("a", MNIST, "cpu"), ("b", MNIST, "ref"), ("c", f"{d}/m.pare", "cpu")):
            pare("run", "-m", model, "--input", x, "--output", f"{d}/{name}.npz", "--backend", backend)
        a, b, c = (np.load(f"{d}/{n}.npz")["logits"] for n in "abc")
        assert a.shape == (8, 10) and np.abs(a - b).max() <= 1e-5 * np.ptp(b) and np.array_equal(a, c)


def test_integer_results_are_equal_on_every_instruction_set_and_thread_count():
    with folder() as d:
        pare("compile", "-m", MNIST, "-o", f"{d}/q.pare", "--calib", demo("calib.npz"))
        outputs = []
        for i, (isa, threads) in enumerate((("plain", 1), ("avx2", 1), ("avx512", 2), ("avx512_vnni", 3), ("amx", 2))):
            out = f"{d}/{i}.npz"
            pare("run", "-m", f"{d}/q.pare", "--input", demo("eval.npz"), "--output", out, "--samples", 200, "--threads", threads, env={"PARE_ISA": isa})
            outputs.append(np.load(out)["logits"])
        pare("run", "-m", f"{d}/q.pare", "--input", demo("eval.npz"), "--output", f"{d}/ref.npz", "--samples", 200, "--backend", "ref")
        for y in outputs:
            assert np.array_equal(y, np.load(f"{d}/ref.npz")["logits"])


def test_bf16_halves_the_weights_and_runs_everywhere():
    with folder() as d:
        for p in ("fp32", "bf16"):
            pare("compile", "-m", MNIST, "-o", f"{d}/{p}.pare", "--precision", p)
        size = {p: os.path.getsize(f"{d}/{p}.pare") for p in ("fp32", "bf16")}
        assert size["bf16"] < 0.65 * size["fp32"] and pare_json("inspect", "-m", f"{d}/bf16.pare")["variant"] == "bf16"
        y = {}
        for name, model, isa, threads in (("fp32", "fp32", "avx2", 1), ("wide", "bf16", "avx2", 1), ("one", "bf16", "amx", 1), ("three", "bf16", "amx", 3)):
            _, err = pare("run", "-m", f"{d}/{model}.pare", "--input", demo("eval.npz"), "--output", f"{d}/{name}.npz", "--samples", 100, "--threads", threads, env={"PARE_ISA": isa})
            assert name != "wide" or "run in fp32" in err, err
            y[name] = np.load(f"{d}/{name}.npz")["logits"]
        for name in ("wide", "one"):
            assert 0 < np.abs(y[name] - y["fp32"]).max() <= 0.03 * np.ptp(y["fp32"]), name
        assert np.array_equal(y["one"], y["three"])
        pare("compile", "-m", f"{d}/bf16.pare", "-o", f"{d}/again.pare", "--precision", "fp32")
        assert pare_json("inspect", "-m", f"{d}/again.pare")["variant"] == "fp32"
        _, err = pare("compile", "-m", MNIST, "-o", f"{d}/m.onnx", "--precision", "bf16", code=2)
        assert ".pare" in err and not os.path.exists(f"{d}/m.onnx")


def test_same_command_same_bytes():
    with folder() as d:
        for k in (1, 2):
            for suffix in ("onnx", "pare"):
                pare("quantize", "-m", MNIST, "-o", f"{d}/{k}.{suffix}", "--calib", demo("calib.npz"), "--samples", 100, "--threads", k)
        for suffix in ("onnx", "pare"):
            assert filecmp.cmp(f"{d}/1.{suffix}", f"{d}/2.{suffix}", shallow=False)


def test_eval_pairs_two_models():
    with folder() as d:
        pare("quantize", "-m", MNIST, "-o", f"{d}/q.onnx", "--calib", demo("calib.npz"))
        j = pare_json("eval", "-m", f"{d}/q.onnx", "--data", demo("eval.npz"), "--against", MNIST, "--per-sample", f"{d}/s.csv")
        assert j["schema_version"] == 1 and j["accuracy"]["samples"] == 1500 and j["agreement"] > 0.97
        assert j["accuracy"]["ci95"][0] < j["accuracy"]["value"] < j["accuracy"]["ci95"][1]
        assert abs(j["difference"]["value"] - (j["accuracy"]["value"] - j["against"]["accuracy"]["value"])) < 1e-3
        assert j["layers"] and all(r["sqnr_db"] is None or r["sqnr_db"] > 5 for r in j["layers"])
        assert len(open(f"{d}/s.csv").read().splitlines()) == 1501


def test_metric_command():
    j = pare_json("eval", "-m", MNIST, "--data", demo("eval.npz"), "--samples", 50, "--metric-cmd", "sh -c 'test -s \"$0\" && echo 0.25'")
    assert j["accuracy"]["value"] == 0.25
    pare("eval", "-m", MNIST, "--data", demo("eval.npz"), "--samples", 50, "--metric-cmd", "true", code=5)


def test_bench_against():
    with folder() as d:
        pare("compile", "-m", MNIST, "-o", f"{d}/m.pare")
        j = pare_json("bench", "-m", f"{d}/m.pare", "--against", MNIST, "--min-time", 0.05, "--profile", "--trace", f"{d}/t.json", "--streams", 2)
        assert j["latency_ms"]["p10"] <= j["latency_ms"]["median"] <= j["latency_ms"]["p99"] and j["latency_ratio"] > 0
        assert j["open_ms"] > 0 and j["peak_bytes"] > 1e6 and j["runs_per_second"] > 0
        assert all(e["ph"] == "X" for e in json.load(open(f"{d}/t.json")))


def test_optimize_writes_everything():
    with folder() as d:
        out, _ = pare("optimize", "-m", MNIST, "-o", f"{d}/o", "--calib", demo("calib.npz"), "--eval", demo("eval.npz"), "--min-time", 0.05)
        assert sorted(os.listdir(f"{d}/o")) == ["model.onnx", "model.pare", "report.html", "report.json", "report.md"]
        assert "fp32" in out and "int8 *" in out
        j = json.load(open(f"{d}/o/report.json"))
        assert j["chosen"] == "int8" and [v["name"] for v in j["variants"]] == ["fp32", "int8"]
        int8 = j["variants"][1]
        assert int8["difference"]["value"] > -1 and int8["bytes"] == os.path.getsize(f"{d}/o/model.pare") < 0.45 * j["variants"][0]["bytes"]
        html = open(f"{d}/o/report.html").read()
        assert html.count("<svg") == 2 and "http" not in html.replace("http-equiv", "")


def test_max_drop_that_int8_meets_changes_nothing():
    with folder() as d:
        pare("optimize", "-m", MNIST, "-o", f"{d}/o", "--calib", demo("calib.npz"), "--eval", demo("eval.npz"), "--min-time", 0.05, "--max-drop", 50)
        assert json.load(open(f"{d}/o/report.json"))["chosen"] == "int8"


def test_max_drop_keeps_layers_in_float_and_says_which():
    """Calibrated on images that are far too dark, the int8 model clips real ones: the search has to work."""
    with folder() as d:
        np.savez(f"{d}/dark.npz", input=np.load(demo("calib.npz"))["input"][:50] * np.float32(0.05))
        common = ["optimize", "-m", MNIST, "-o", f"{d}/o", "--calib", f"{d}/dark.npz", "--eval", demo("eval.npz"), "--min-time", 0.05, "--calibrator", "minmax"]
        pare(*common)
        assert json.load(open(f"{d}/o/report.json"))["variants"][1]["difference"]["value"] < -5
        for objective in ("latency", "size"):
            r = subprocess.run([h.PARE, *map(str, common), "--max-drop", "2", "--time-budget", "60s", "--objective", objective], capture_output=True, text=True)
            j = json.load(open(f"{d}/o/report.json"))
            assert r.returncode in (0, 1), r.stderr
            tried = {int(n): float(x) for n, x in re.findall(r"(\d+) of \d+ layers in float: drop (-?[\d.]+) points", j["search"])}
            assert tried and j["chosen"] != "int8", j["search"]
            if j["chosen"] == "fp32":
                assert r.returncode == 1 and min(tried.values()) > 2
                continue
            floats = [l for l in j["layers"] if l["precision"] == "fp32"]
            assert floats and all("--max-drop" in l["why"] for l in floats)
            assert tried[len(floats)] <= 2 and all(x > 2 for n, x in tried.items() if n < len(floats)), (j["search"], len(floats))


def test_config_file_and_precedence():
    with folder() as d:
        json.dump({"batch": 2, "min-time": 0.02}, open(f"{d}/c.json", "w"))
        assert pare_json("bench", "-m", MNIST, "--config", f"{d}/c.json")["batch"] == 2
        assert pare_json("bench", "-m", MNIST, "--config", f"{d}/c.json", "--batch", 3)["batch"] == 3
        json.dump({"nonsense": 1}, open(f"{d}/c.json", "w"))
        pare("bench", "-m", MNIST, "--config", f"{d}/c.json", code=2)


def test_exclusions_and_float_layers_are_named():
    with folder() as d:
        out, _ = pare("quantize", "-m", MNIST, "-o", f"{d}/q.onnx", "--calib", demo("calib.npz"), "--exclude-op", "^Gemm$")
        assert "float: Gemm" in out and "excluded by --exclude-op" in out


def test_broken_models_exit_3():
    with folder() as d:
        whole = open(MNIST, "rb").read()
        open(f"{d}/cut.onnx", "wb").write(whole[: len(whole) // 2])
        open(f"{d}/text.onnx", "w").write("this is not a model\n" * 50)
        for name in ("cut.onnx", "text.onnx"):
            _, err = pare("compile", "-m", f"{d}/{name}", "-o", f"{d}/out.pare", code=3)
            assert name in err
        pare("optimize", "-m", f"{d}/cut.onnx", "-o", f"{d}/new", "--random-calib", code=3)
        assert not os.path.exists(f"{d}/new")
        pare("compile", "-m", MNIST, "-o", f"{d}/m.pare")
        blob = bytearray(open(f"{d}/m.pare", "rb").read())
        blob[-100] ^= 1
        open(f"{d}/bad.pare", "wb").write(blob)
        _, err = pare("bench", "-m", f"{d}/bad.pare", code=3)
        assert "weights" in err
        open(f"{d}/short.pare", "wb").write(blob[:200])
        pare("bench", "-m", f"{d}/short.pare", code=3)
        assert not os.path.exists(f"{d}/out.pare")


def test_missing_files_exit_5():
    with folder() as d:
        for args in (["inspect", "-m", f"{d}/none.onnx"], ["eval", "-m", MNIST, "--data", f"{d}/none.npz"],
                     ["quantize", "-m", MNIST, "-o", f"{d}/q.onnx", "--calib", f"{d}/none.npz"]):
            _, err = pare(*args, code=5)
            assert "none." in err
            assert not os.listdir(d)


def test_wrong_data_exits_3():
    with folder() as d:
        x = np.zeros((4, 1, 28, 28), np.float32)
        nan = x.copy()
        nan[2, 0, 3, 3] = np.nan
        for arrays in (dict(input=x.astype(np.int64)), dict(input=x[:, :, :, :20]), dict(wrong=x), dict(input=nan)):
            np.savez(f"{d}/x.npz", **arrays)
            _, err = pare("quantize", "-m", MNIST, "-o", f"{d}/q.onnx", "--calib", f"{d}/x.npz", code=3)
            assert "x.npz" in err and not os.path.exists(f"{d}/q.onnx"), err
        np.savez(f"{d}/x.npz", input=x)
        pare("eval", "-m", MNIST, "--data", f"{d}/x.npz", code=3)  # no labels
        np.savez(f"{d}/x.npz", input=x, labels=np.array([1, 2, 3, 99]))
        _, err = pare("eval", "-m", MNIST, "--data", f"{d}/x.npz", code=3)
        assert "99" in err


def test_unsupported_model_lists_everything():
    import onnx
    from onnx import TensorProto as T
    from onnx import helper
    nodes = [helper.make_node("StringNormalizer", ["x"], ["a"], name="first"), helper.make_node("Scaler", ["x"], ["b"], name="second", domain="ai.onnx.ml")]
    value = lambda n: helper.make_tensor_value_info(n, T.FLOAT, [1])
    g = helper.make_graph(nodes, "g", [value("x")], [value("a"), value("b")])
    with folder() as d:
        onnx.save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]), f"{d}/u.onnx")
        _, err = pare("inspect", "-m", f"{d}/u.onnx", code=4)
        assert "StringNormalizer" in err and "first" in err and "Scaler" in err and "second" in err


def test_unwritable_and_full_disk_leave_nothing():
    with folder() as d:
        _, err = pare("compile", "-m", MNIST, "-o", f"{d}/no/such/m.pare", code=5)
        assert "no/such" in err
        if os.path.exists("/dev/full"):
            pare("bench", "-m", MNIST, "--min-time", 0.02, "--json", "/dev/full", code=5)
        if os.geteuid() == 0 and shutil.which("mount"):
            os.mkdir(f"{d}/disk")
            if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", f"{d}/disk"], capture_output=True).returncode == 0:
                try:
                    _, err = pare("compile", "-m", MNIST, "-o", f"{d}/disk/m.pare", code=5)
                    assert "m.pare" in err and not os.listdir(f"{d}/disk")
                finally:
                    subprocess.run(["umount", f"{d}/disk"], check=True)


def test_interrupt_leaves_nothing():
    with folder() as d:
        x = np.random.default_rng(0).random((20000, 1, 28, 28), np.float32)
        np.savez(f"{d}/x.npz", input=x)
        p = subprocess.Popen([h.PARE, "quantize", "-m", MNIST, "-o", f"{d}/q.pare", "--calib", f"{d}/x.npz"], stderr=subprocess.PIPE)
        time.sleep(0.4)
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=60)
        assert p.returncode == 130, (p.returncode, err)
        assert sorted(os.listdir(d)) == ["x.npz"]


if __name__ == "__main__":
    h.main(sys.modules[__name__])
