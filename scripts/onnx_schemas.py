#!/usr/bin/env python3
"""Prints frontend/onnx_schemas.def: which attributes, inputs and element types each form of each standard op takes.

Run after the pinned onnx package changed:  python3 scripts/onnx_schemas.py > frontend/onnx_schemas.def
"""
import re

import onnx
from onnx import defs

OLDEST = 13  # the lowest opset that pare writes
NAMES = {"float": "FLOAT", "double": "DOUBLE"}


def element_bit(text):
    name = re.sub(r"^.*\(|\).*$", "", text)
    return 1 << onnx.TensorProto.DataType.Value(NAMES.get(name, name.upper()))


KINDS = {"tensor": 61, "seq": 62, "optional": 63}


def mask(formal):
    bits = 0
    for text in formal.types:
        kind = text.split("(")[0]
        if kind in KINDS:
            bits |= element_bit(text) | 1 << KINDS[kind]
    return bits


def formals(params, masks):
    text = ""
    for p in params:
        m = mask(p)
        if m not in masks:
            masks[m] = chr(97 + len(masks) // 26) + chr(97 + len(masks) % 26)
        text += masks[m]
        if p.option == defs.OpSchema.FormalParameterOption.Variadic:
            text += "*"
    return text


def main():
    history = {}
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "":
            history.setdefault(schema.name, []).append(schema)
    masks, rows = {}, []
    for name in sorted(history):
        versions = sorted(history[name], key=lambda s: s.since_version)
        for i, schema in enumerate(versions):
            replaced = i + 1 < len(versions) and versions[i + 1].since_version <= OLDEST
            if replaced or schema.deprecated:
                continue
            attrs = " ".join(sorted(schema.attributes))
            rows.append(
                f'SCHEMA("{name}", {schema.since_version}, "{attrs}", "{formals(schema.inputs, masks)}", '
                f'"{formals(schema.outputs, masks)}")'
            )
    print("/* Made by scripts/onnx_schemas.py from the schemas of the ONNX specification; not edited by hand.")
    print(" *")
    print(" * TYPES(code, mask): the element types of a formal parameter (bits numbered as TensorProto.DataType), and whether")
    print(" * it takes tensors (bit 61), sequences (62) and optionals (63).")
    print(" * SCHEMA(op, opset in which this form appeared, attributes, codes of inputs, codes of outputs), from the")
    print(f" * form that is valid in opset {OLDEST} on; * after a code: any number of them. */")
    for bits, code in masks.items():
        print(f"TYPES({code}, 0x{bits:016x})")
    for row in rows:
        print(row)


main()
