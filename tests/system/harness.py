"""What the system tests share: running pare, temporary folders, models, TAP output.

Each test_*.py defines functions named test_*; main() runs them in order and prints TAP. PARE is the program; PARE_DATA and
PARE_MODELS hold models and labelled data: what needs them is skipped without, or fails when PARE_REQUIRE_DATA is 1."""
import json
import os
import subprocess
import sys
import tempfile
import traceback

PARE = os.environ["PARE"]
DATA = os.environ.get("PARE_DATA")
MODELS = os.environ.get("PARE_MODELS")
DEMO = os.environ.get("PARE_DEMO_DATA")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MNIST = os.path.join(ROOT, "examples", "mnist", "mnist_cnn.onnx")
IMAGENET = ["--mean", "123.675,116.28,103.53", "--std", "58.395,57.12,57.375"]


class Skip(Exception):
    pass


def sanitized():
    """Whether the program comes from a sanitized build."""
    cache = open(os.path.join(os.path.dirname(os.path.abspath(PARE)), "CMakeCache.txt")).read()
    return any(line.startswith("PARE_SANITIZE") and not line.endswith("=") for line in cache.splitlines())


def need(path, how):
    if path and os.path.exists(path):
        return path
    if os.environ.get("PARE_REQUIRE_DATA") == "1":
        raise AssertionError(f"missing, and PARE_REQUIRE_DATA is 1: {how}")
    raise Skip(how)


def data(name):
    return need(DATA and os.path.join(DATA, name), "set PARE_DATA to the folder of models and labelled data")


def demo(name):
    return need(DEMO and os.path.join(DEMO, name), "run it through ./dev test, which prepares the demo data")


def pare(*args, code=0, env=None, cwd=None):
    """Runs pare; returns (stdout, stderr) and checks the exit code."""
    r = subprocess.run([PARE, *map(str, args)], capture_output=True, text=True, env={**os.environ, **(env or {})}, cwd=cwd, timeout=600)
    assert r.returncode == code, f"exit {r.returncode}, expected {code}: pare {' '.join(map(str, args))}\n{r.stdout[-2000:]}{r.stderr[-2000:]}"
    return r.stdout, r.stderr


def pare_json(*args):
    return json.loads(pare(*args, "--json", "-", "-q")[0])


def folder():
    return tempfile.TemporaryDirectory(prefix="pare-test-")


def main(module):
    tests = [(n, f) for n, f in vars(module).items() if n.startswith("test_") and callable(f)]
    print(f"1..{len(tests)}")
    failed = 0
    for i, (name, fn) in enumerate(tests, 1):
        try:
            fn()
            print(f"ok {i} - {name}", flush=True)
        except Skip as s:
            print(f"ok {i} - {name} # SKIP {s}", flush=True)
        except Exception:
            failed += 1
            print(f"not ok {i} - {name}")
            print("\n".join("# " + line for line in traceback.format_exc().splitlines()), flush=True)
    sys.exit(failed > 0)
