"""The tables of docs/benchmarks.md: runs `pare optimize` on the labelled models and prints what it measured as Markdown.

tables.py PARE DATA OUT [MODEL ...]     PARE: the program; DATA: folder of models and labelled data; OUT: folder for the reports"""
import json
import os
import resource
import subprocess
import sys
import time

STD = ["--mean", "123.675,116.28,103.53", "--std", "58.395,57.12,57.375"]
CASES = {
    "resnet20_cifar10": ("cifar10/calib", "cifar10/eval", STD + ["--samples", "512"]),
    "squeezenet1.1_imagenet": ("imagenet/calib", "imagenet/eval", STD + ["--crop", "224"]),
    "mobilenetv2_imagenet": ("imagenet/calib", "imagenet/eval", ["--mean", "127.5", "--std", "127.5", "--crop", "224", "--label-offset", "1"]),
    "kws_dscnn": ("kws/calib.npz", "kws/eval.npz", []),
    "kwt1_speech_commands12": ("speech/calib.npz", "speech/eval.npz", []),
}


def row(pare, data, out, name):
    calib, evaluation, flags = CASES[name]
    folder = os.path.join(out, name)
    started, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([pare, "optimize", "-m", f"{data}/models/{name}.onnx", "-o", folder, "--calib", f"{data}/{calib}", "--eval", f"{data}/{evaluation}",
                    "-q", *flags], check=True)
    seconds, cpu = time.time() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    report = json.load(open(os.path.join(folder, "report.json")))
    fp32, int8 = report["variants"][:2]
    d = int8["difference"]
    latency = lambda v: f"{v['latency_ms']['median']:.3f} [{v['latency_ms']['p10']:.3f}, {v['latency_ms']['p90']:.3f}]"
    print(f"| {name} | {fp32['accuracy']['value']:.3f} | {int8['accuracy']['value']:.3f} | {-d['value']:+.3f} [{-d['ci95'][1]:+.2f}, {-d['ci95'][0]:+.2f}] | "
          f"{int8['agreement']:.4f} | {int8['size_ratio']:.3f} | {latency(fp32)} | {latency(int8)} | {int8['latency_ratio']:.2f} | {seconds:.1f} ({cpu:.1f}) | "
          f"{int8['peak_bytes'] / 1e6:.0f} |", flush=True)


def main():
    pare, data, out = sys.argv[1:4]
    os.makedirs(out, exist_ok=True)
    print("| model | fp32 top-1 | int8 top-1 | drop, points [95 %] | agreement | size int8 / fp32 | fp32 ms [p10, p90] | int8 ms [p10, p90] | speed-up | "
          "seconds (CPU) | peak MB |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for name in sys.argv[4:] or CASES:
        row(pare, data, out, name)


if __name__ == "__main__":
    main()
