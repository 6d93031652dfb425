# SPDX-License-Identifier: Apache-2.0
"""Reads a checkpoint by its description alone, core/checkpoint/format.md, and prints what is wrong, or "all is well" and how.

    read_checkpoint.py FOLDER
"""

import hashlib
import json
import pathlib
import struct
import sys

BYTES = {"F64": 8, "F32": 4, "U8": 1}


def check_record(text, record):
    at = text.rindex(b'"hash":') + len(b'"hash":')
    assert text[at:] == b'"' + record["hash"].encode() + b'"}\n', "the end of the record"
    assert record["hash"] == hashlib.sha256(text[:at]).hexdigest(), "the record's own hash"


def check_pieces(data, file):
    assert len(data) == file["bytes"], "its size"
    begin = 0
    for piece in file["pieces"]:
        assert hashlib.sha256(data[begin : piece["end"]]).hexdigest() == piece["hash"], f"the piece from byte {begin}"
        begin = piece["end"]
    assert begin == len(data), "pieces of all bytes"


def check_tensors(data, step):
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    assert (8 + length) % 64 == 0, "the data's alignment"
    assert header.pop("__metadata__") == {"format": "pt", "onebit.step": str(step)}, "its metadata"
    end = 0
    for tensor in header.values():
        begin, tensor_end = tensor["data_offsets"]
        elements = 1
        for dim in tensor["shape"]:
            elements *= dim
        assert begin == end and tensor_end == begin + elements * BYTES[tensor["dtype"]], "the place of a tensor"
        end = tensor_end
    assert 8 + length + end == len(data), "tensors of all bytes"
    return header


def check_with_package(file, header):
    """The reference implementation's opinion; False where it is not there."""
    try:
        import numpy  # noqa: F401 (which the package gives tensors as)
        from safetensors import safe_open
    except ImportError:
        return False
    with safe_open(file, framework="numpy") as opened:
        assert sorted(opened.keys()) == sorted(header), "its tensors, as the package reads them"
        for name, tensor in header.items():
            assert list(opened.get_tensor(name).shape) == tensor["shape"], "a shape, as the package reads it"
    return True


def main(folder):
    text = (folder / "checkpoint.json").read_bytes()
    record = json.loads(text)
    assert record["hashes"] == "sha256", "Python has no XXH3"
    check_record(text, record)
    with_package = True
    for file in record["files"]:
        data = (folder / file["name"]).read_bytes()
        check_pieces(data, file)
        header = check_tensors(data, record["step"])
        with_package = check_with_package(folder / file["name"], header) and with_package
    print(f"all is well, {'with' if with_package else 'without'} the packages safetensors and numpy")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
