# SPDX-License-Identifier: Apache-2.0
"""Arrays of other libraries: where they lie, and what they are.

torch tensors are asked for their pointer, numpy arrays for their interface, all others for DLPack.
"""

import ctypes
from typing import Any, NamedTuple, Optional, Tuple

from ._library import Tensor

_TORCH_TYPES = {"torch.float32": (2, 32), "torch.float16": (2, 16), "torch.bfloat16": (4, 16)}
_NUMPY_TYPES = {"<f4": (2, 32), "<f2": (2, 16)}
_CPU, _CUDA = 1, 2


class Array(NamedTuple):
    """Strides in elements; keeps: what keeps the memory."""

    pointer: int
    shape: Tuple[int, ...]
    strides: Tuple[int, ...]
    code: int
    bits: int
    device: Tuple[int, int]
    read_only: bool
    keeps: Any

    @property
    def size(self) -> int:
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    def is_row_by_row(self) -> bool:
        stride = 1
        for extent, own in zip(reversed(self.shape), reversed(self.strides)):
            if extent > 1 and own != stride:
                return False
            stride *= extent
        return True


def is_torch(x: Any) -> bool:
    return type(x).__module__.split(".")[0] == "torch" or hasattr(x, "data_ptr")


def array_of(x: Any, name: str) -> Array:
    """Raises TypeError for what is no dense array of fp32, fp16 or bf16 in memory."""
    if is_torch(x):
        found = _of_torch(x, name)
    elif hasattr(x, "__array_interface__"):
        found = _of_numpy(x, name)
    elif hasattr(x, "__dlpack__"):
        found = _of_dlpack(x, name)
    else:
        raise TypeError(f"{name} is a {type(x).__name__}; expected a tensor of torch, an array of numpy, or of __dlpack__")
    if found.size > 0 and found.pointer == 0:
        raise TypeError(f"{name} has no memory: a tensor of torch's compiler or of device `meta`?")
    return found


def _of_torch(x: Any, name: str) -> Array:
    kind = str(x.dtype)
    if str(x.layout) != "torch.strided":
        raise TypeError(f"{name} is {x.layout}; expected a dense tensor")
    if kind not in _TORCH_TYPES:
        raise TypeError(f"{name} is {kind}; expected {', '.join(_TORCH_TYPES)}")
    if x.is_neg() or x.is_conj():
        raise TypeError(f"{name} is a view with a sign that is not in memory yet: take x.resolve_neg() of it")
    device = (_CUDA, x.device.index or 0) if x.device.type == "cuda" else (_CPU, 0)
    if x.device.type not in ("cpu", "cuda"):
        raise TypeError(f"{name} is on {x.device}; expected cpu or cuda")
    code, bits = _TORCH_TYPES[kind]
    pointer = 0 if x.device.type == "meta" else x.data_ptr()
    return Array(pointer, tuple(x.shape), tuple(x.stride()), code, bits, device, False, x)


def _of_numpy(x: Any, name: str) -> Array:
    interface = x.__array_interface__
    kind, shape = interface["typestr"], tuple(interface["shape"])
    if kind not in _NUMPY_TYPES:
        raise TypeError(f"{name} is of {x.dtype}; expected float32 or float16 in this machine's byte order")
    code, bits = _NUMPY_TYPES[kind]
    pointer, read_only = interface["data"]
    item = bits // 8
    steps = interface.get("strides")
    if pointer % item != 0 or (steps is not None and any(step % item for step in steps)):
        raise TypeError(f"{name} is not aligned to its elements")
    strides = _row_by_row(shape) if steps is None else tuple(step // item for step in steps)
    return Array(pointer, shape, strides, code, bits, (_CPU, 0), read_only, x)


def _row_by_row(shape: Tuple[int, ...]) -> Tuple[int, ...]:
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


class _Versioned(ctypes.Structure):
    """DLManagedTensorVersioned, of which nothing but the flags and the tensor is read."""

    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    ]


_api = ctypes.pythonapi
_api.PyCapsule_IsValid.argtypes, _api.PyCapsule_IsValid.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_int
_api.PyCapsule_GetPointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
_api.PyCapsule_GetPointer.restype = ctypes.c_void_p


def _of_dlpack(x: Any, name: str) -> Array:
    """The capsule is not consumed: it keeps the memory as long as it is kept."""
    try:
        capsule = x.__dlpack__(max_version=(1, 3))
    except TypeError:  # of a library that knows no versions
        capsule = x.__dlpack__()
    read_only = type(x).__module__.split(".")[0] in ("jax", "jaxlib")  # whose arrays never change, and which does not say so
    if _api.PyCapsule_IsValid(capsule, b"dltensor_versioned"):
        whole = _Versioned.from_address(_api.PyCapsule_GetPointer(capsule, b"dltensor_versioned"))
        if whole.major != 1:
            raise TypeError(f"{name} speaks DLPack {whole.major}.{whole.minor}; expected 1")
        read_only, tensor = read_only or bool(whole.flags & 1), whole.tensor
    else:
        tensor = Tensor.from_address(_api.PyCapsule_GetPointer(capsule, b"dltensor"))
    kind = (tensor.dtype.code, tensor.dtype.bits)
    if tensor.dtype.lanes != 1 or kind not in _TORCH_TYPES.values():
        raise TypeError(f"{name} has DLPack's type {kind}; expected (2, 32), (2, 16) or (4, 16): fp32, fp16 or bf16")
    shape = tuple(tensor.shape[d] for d in range(tensor.ndim))
    strides = tuple(tensor.strides[d] for d in range(tensor.ndim)) if tensor.strides else _row_by_row(shape)
    pointer = (tensor.data or 0) + tensor.byte_offset if tensor.data else 0
    if pointer % (kind[1] // 8) != 0:
        raise TypeError(f"{name} is not aligned to its elements")
    return Array(pointer, shape, strides, *kind, (tensor.device.type, tensor.device.id), read_only, (x, capsule))


def bytes_of(x: Any, name: str) -> Tuple[int, int, Optional[Any]]:
    """Pointer and number of bytes of a writable array on the CPU, row by row, or of a bytearray; and what keeps it."""
    if isinstance(x, bytearray):
        return (ctypes.addressof(ctypes.c_char.from_buffer(x)), len(x), x) if x else (0, 0, None)
    if is_torch(x):
        if x.device.type != "cpu" or not x.is_contiguous():
            raise TypeError(f"{name} is not row by row in memory of the CPU")
        return x.data_ptr(), x.numel() * x.element_size(), x
    view = memoryview(x)
    if view.readonly or not view.c_contiguous:
        raise TypeError(f"{name} is read-only, or not row by row in memory")
    if view.nbytes == 0:
        return 0, 0, None
    return ctypes.addressof(ctypes.c_char.from_buffer(view)), view.nbytes, view
