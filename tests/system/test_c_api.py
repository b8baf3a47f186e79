"""The installed library: the C example builds against it with the CMake package and with pkg-config, and runs."""
import os
import subprocess
import sys

import harness as h
from harness import ROOT, Skip, demo, folder, pare

BUILD = os.path.dirname(os.path.abspath(h.PARE))


def sh(*args, env=None):
    r = subprocess.run(list(map(str, args)), capture_output=True, text=True, env={**os.environ, **(env or {})})
    assert r.returncode == 0, f"{' '.join(map(str, args))}\n{r.stdout[-2000:]}{r.stderr[-2000:]}"
    return r.stdout


def installed(prefix):
    if h.sanitized():
        raise Skip("a sanitized library needs sanitized programs")
    sh("cmake", "--install", BUILD, "--prefix", prefix)


def classify(program, d):
    pare("compile", "-m", h.MNIST, "-o", f"{d}/q.pare", "--calib", demo("calib.npz"), "-q")
    outputs = [sh(program, model) for model in (h.MNIST, f"{d}/q.pare")]
    for out in outputs:
        assert "thread 0: class" in out and "thread 1: class" in out and "input 'input'" in out
    r = subprocess.run([program, "/nonexistent.onnx"], capture_output=True, text=True)
    assert r.returncode == 5 and "nonexistent" in r.stderr


def test_cmake_package():
    with folder() as d:
        installed(f"{d}/prefix")
        sh("cmake", "-S", f"{ROOT}/examples/c_api", "-B", f"{d}/build", f"-DCMAKE_PREFIX_PATH={d}/prefix")
        sh("cmake", "--build", f"{d}/build")
        classify(f"{d}/build/example", d)


def test_pkg_config():
    with folder() as d:
        installed(f"{d}/prefix")
        sh("cp", f"{ROOT}/examples/c_api/main.c", f"{ROOT}/examples/c_api/Makefile", d)
        found = [os.path.join(p, "pkgconfig") for p, _, files in os.walk(f"{d}/prefix") if "pkgconfig" in os.listdir(p)]
        sh("make", "-C", d, env={"PKG_CONFIG_PATH": found[0]})
        classify(f"{d}/example", d)


def test_only_the_public_names_are_exported():
    library = next(os.path.join(BUILD, f) for f in sorted(os.listdir(BUILD)) if f.startswith("libpare.so"))
    names = [line.split()[-1].split("@")[0] for line in sh("nm", "-D", "--defined-only", library).splitlines()]
    assert "pare_run" in names and all(n.startswith("pare_") or n == "PARE" for n in names), [n for n in names if not n.startswith("pare_")]


if __name__ == "__main__":
    h.main(sys.modules[__name__])
