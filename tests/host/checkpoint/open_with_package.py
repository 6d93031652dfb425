# SPDX-License-Identifier: Apache-2.0
"""Opens every safetensors file of a checkpoint with the package safetensors, and prints what is wrong, or "all is well".

    open_with_package.py CHECKPOINT EXPECTED.json

EXPECTED.json: "model", for each parameter its "shape" and its "values" row by row; "blobs", by rank and name.
"""

import json
import pathlib
import sys

import numpy
from safetensors import safe_open


def read(file, step):
    with safe_open(file, framework="numpy") as opened:
        assert opened.metadata() == {"format": "pt", "onebit.step": str(step)}, f"{file.name}: its metadata"
        return {name: opened.get_tensor(name) for name in opened.keys()}


def check_model(tensors, expected):
    assert sorted(tensors) == sorted(expected), "the names of the parameters"
    for name, parameter in expected.items():
        values = numpy.array(parameter["values"], numpy.float32).reshape(parameter["shape"])
        assert tensors[name].dtype == numpy.float32 and tensors[name].shape == values.shape, f"{name}: its form"
        assert tensors[name].tobytes() == values.tobytes(), f"{name}: its values"


def check_rank(tensors, blobs):
    json.loads(tensors["session"].tobytes())
    found = {name[len("blob/") :]: tensor.tobytes().decode() for name, tensor in tensors.items() if name.startswith("blob/")}
    assert found == blobs, "the embedder's blobs"


def check_numbers(file, tensors):
    for name, tensor in tensors.items():
        assert tensor.dtype in (numpy.float32, numpy.float64, numpy.uint8), f"{file}: {name}: its type"
        assert tensor.dtype == numpy.uint8 or numpy.isfinite(tensor).all(), f"{file}: {name}: its values"


def main(folder, expected):
    record = json.loads((folder / "checkpoint.json").read_text())
    on_disk = sorted(file.name for file in folder.glob("*.safetensors"))
    assert on_disk == sorted(file["name"] for file in record["files"]), "which files there are"
    files = {name: read(folder / name, record["step"]) for name in on_disk}
    for name, tensors in files.items():
        check_numbers(name, tensors)
    check_model(files["model.safetensors"], expected["model"])
    assert any(name.startswith("elements:variance/") for name in files["state.safetensors"]), "the optimizer's state"
    for rank, blobs in enumerate(expected["blobs"]):
        check_rank(files[f"rank-{rank:05}-of-{len(expected['blobs']):05}.safetensors"], blobs)
    print(f"all is well: {sum(map(len, files.values()))} tensors in {len(files)} files")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), json.loads(pathlib.Path(sys.argv[2]).read_text()))
