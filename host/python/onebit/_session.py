# SPDX-License-Identifier: Apache-2.0
"""One rank's part of a training."""

import contextlib
import ctypes
import json
import os
from ctypes import POINTER, byref, c_double, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from ._arrays import Array, array_of, bytes_of
from ._library import (
    Blob,
    CStepReport,
    Handle,
    Parameter,
    Registry,
    SaveOptions,
    call,
    made,
    taken,
    text_of,
    texts,
    waiting,
)
from ._rendezvous import Rendezvous

_OPERATIONS = {"sum": 1, "avg": 2, "min": 3, "max": 4}
_OF_RANK, _OF_ALL = 1, 2


class StepReport(NamedTuple):
    """What a step did; StepReport of onebit/session.hpp."""

    number: int  #: this step's; a skipped step's number is used again
    skipped: bool  #: a gradient on some rank can't be used (not finite, or above 2^55): nothing was changed
    compressed: bool
    local: bool  #: this step had no round: this rank went on by itself
    gradient_norm: float  #: 0 unless session.clip_norm is set
    gradient_scale: float  #: what this rank's gradients were multiplied by
    absent: int  #: tensors that no rank had a gradient of
    frozen_at: int  #: the step after which the optimizer keeps its variance; 0: not yet
    unseen: int
    clamped_share: float


class SaveReport(NamedTuple):
    """What a save did; SaveReport of onebit/checkpoint.hpp."""

    begun: bool
    step: int
    folder: str
    committed: bool
    left: str


class LoadReport(NamedTuple):
    """What was loaded; LoadReport of onebit/checkpoint.hpp."""

    folder: str
    step: int
    ranks: int
    refused: List[str]
    afresh: List[str]
    changed: List[str]


class Manifest(NamedTuple):
    """A manifest as text. name: what errors call it; folder: what relative paths in it are relative to."""

    text: str
    name: str = "the manifest"
    folder: Union[str, "os.PathLike[str]"] = "."


def described(name: str, array: Array, identity: int = 0) -> Parameter:
    """What it refers to lives as long as it does."""
    parameter = Parameter(name.encode())
    shape, strides = (c_int64 * len(array.shape))(*array.shape), (c_int64 * len(array.shape))(*array.strides)
    tensor = parameter.tensor
    tensor.data = array.pointer
    tensor.device.type, tensor.device.id = array.device
    tensor.ndim = len(array.shape)
    tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes = array.code, array.bits, 1
    tensor.shape, tensor.strides = ctypes.cast(shape, POINTER(c_int64)), ctypes.cast(strides, POINTER(c_int64))
    parameter.identity = identity
    parameter.kept = (shape, strides, name)
    return parameter


class Session:
    """One rank's part of a training: keeps no model, and computes no gradients. All ranks open one with the same configuration
    and the same tensors; the parameters become those of rank 0.

    config: the path of a manifest, or a :class:`Manifest`.
    parameters: name to array, or pairs of them: fp32, fp16 or bf16, dense in any order of dimensions, writable. Their memory
        is used as long as the session lives, and steps change it in place.
    overrides: of the manifest, such as ``["optimizer.lr=1e-3"]``, as the command's ``--set``.
    rendezvous: where the ranks meet; by default what torchrun's variables tell, else what the communicator finds by itself
        (``mpi`` under mpirun), else this process is the only rank.
    timeout: seconds, for the other ranks to come to that rendezvous.
    log_level: ``"debug"``, ``"info"``, ``"warning"``, ``"error"`` or ``"none"``: what goes to the logger ``onebit`` of Python's
        ``logging``, which is silent unless the program gives it a handler.
    plugins: folders with plugins, besides the built-in ones and those that the manifest names.
    on_step: called with the report after each step.

    Calls are collective where the docstring says so: every rank makes them, in the same order. One thread calls at a time.
    What a signal raises while a call waits, such as KeyboardInterrupt, ends the session on all ranks. After ``fork`` a session
    works in the parent alone. Raises :class:`onebit.Error`, TypeError for arrays that will not do.
    """

    def __init__(
        self,
        config: Union[str, "os.PathLike[str]", Manifest],
        parameters: Union[Mapping[str, Any], Sequence[Tuple[str, Any]]],
        *,
        overrides: Sequence[str] = (),
        rendezvous: Optional[Rendezvous] = None,
        timeout: float = 300.0,
        log_level: str = "warning",
        plugins: Sequence[str] = (),
        on_step: Optional[Callable[[StepReport], None]] = None,
    ) -> None:
        pairs = list(parameters.items() if isinstance(parameters, Mapping) else parameters)
        self.names: List[str] = [name for name, _ in pairs]
        self._arrays = [array_of(x, f"parameter {name!r}") for name, x in pairs]
        for name, array in zip(self.names, self._arrays):
            if array.read_only:
                raise TypeError(f"parameter {name!r} is read-only; expected an array that a step may change")
        self.on_step = on_step
        self._kept: List[Any] = []
        self._registry = Registry(log_level)
        manifest = _manifest(config, list(overrides))
        call("registry_load", self._registry.handle, manifest, texts(plugins), len(plugins))
        configuration = made("configuration_create", self._registry.handle, manifest)
        #: The whole configuration, with all defaults, as TOML.
        self.configuration: str = text_of("configuration_toml", configuration)
        self._handle = self._open(configuration, rendezvous or Rendezvous.environment(timeout))
        rank, size = c_int32(), c_int32()
        call("session_ranks", self._handle, byref(rank), byref(size))
        self.rank: int = rank.value
        self.size: int = size.value
        self._registry.tell_log()

    def _open(self, configuration: Handle, place: Optional[Rendezvous]) -> Handle:
        own = [described(name, array) for name, array in zip(self.names, self._arrays)]
        pointers = (POINTER(Parameter) * len(own))(*(ctypes.pointer(one) for one in own))
        at = place.handle if place else None
        try:
            return waiting(
                lambda: made("session_create", self._registry.handle, configuration, at, pointers, len(own)),
                lambda: place.interrupt() if place else None,
            )
        finally:
            if place:
                place.close()
            self._registry.tell_log()

    def _waits(self, name: str, *arguments: Any) -> None:
        try:
            waiting(lambda: call(name, self._handle, *arguments), self.abort)
        finally:
            self._registry.tell_log()

    def abort(self, reason: str = "") -> None:
        """Ends the session on all ranks: what waits there is ended with AbortedError and this reason. From any thread."""
        words = reason or f"rank {getattr(self, 'rank', '?')} was interrupted"
        call("session_abort", self._handle, words.encode())

    def close(self) -> None:
        """Ends this rank's part; the others' calls then end with an error. Parameters stay as they are."""
        self._handle.close()

    def __del__(self) -> None:
        if hasattr(self, "_handle"):  # before the memory of the parameters goes
            self._handle.close()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    # ---- steps

    def step(self, gradients: Union[Mapping[str, Any], Sequence[Any]], *, stream: Optional[int] = None) -> StepReport:
        """Collective. Turns the gradients of all ranks into the same update.

        gradients: one for each parameter in their order, or by name: fp32, of the parameter's shape and order in memory; None:
            this rank has none of it. They are only read.
        stream: of CUDA, as an integer, in which they were computed; None: the legacy default stream.
        """
        ordered = [gradients.get(name) for name in self.names] if isinstance(gradients, Mapping) else list(gradients)
        if len(ordered) != len(self.names):
            raise ValueError(f"{len(ordered)} gradients were given; expected {len(self.names)}, one for each parameter or None")
        places = [None if x is None else self._gradient(k, x) for k, x in enumerate(ordered)]
        return self.step_at([0 if place is None else place.pointer for place in places], stream)

    def _gradient(self, index: int, x: Any) -> Array:
        name, parameter = f"the gradient of {self.names[index]!r}", self._arrays[index]
        array = array_of(x, name)
        if (array.code, array.bits) != (2, 32):
            raise TypeError(f"{name} is not fp32")
        same_order = array.strides == parameter.strides or (array.is_row_by_row() and parameter.is_row_by_row())
        if array.shape != parameter.shape or not same_order or array.device != parameter.device:
            raise TypeError(
                f"{name} has shape {array.shape}, strides {array.strides} on {array.device}; expected those of the parameter: "
                f"{parameter.shape}, {parameter.strides} on {parameter.device}"
            )
        return array

    def step_at(self, pointers: Sequence[int], stream: Optional[int] = None) -> StepReport:
        """The same, by addresses that the caller vouches for; 0: no gradient."""
        report, count = CStepReport(), len(pointers)
        self._waits("session_step", None, (c_void_p * count)(*pointers), count, stream, byref(report))
        return self._told(report)

    def begin(self, stream: Optional[int] = None) -> None:
        """Collective. Begins a step whose gradients come one by one, by ``ready_at``, and travel meanwhile; ``finish`` ends it.
        Nothing else is asked of the session in between."""
        call("session_begin", self._handle, None, 0, stream)

    def ready_at(self, which: Sequence[int], pointers: Sequence[int], stream: Optional[int] = None) -> None:
        """The gradients of the parameters with these numbers are at these addresses, and stay there until ``finish`` has
        returned."""
        count = len(which)
        call("session_ready", self._handle, (c_int64 * count)(*which), (c_void_p * count)(*pointers), count, stream)

    def finish(self) -> StepReport:
        """Collective. The rest of the step that ``begin`` began. Of what was not announced this rank has no gradient."""
        report = CStepReport()
        self._waits("session_finish", byref(report))
        return self._told(report)

    def settle(self) -> StepReport:
        """On CUDA ``step`` returns before the device is done: waits, and answers the step's full report."""
        report = CStepReport()
        self._waits("session_settle", byref(report))
        return _report_of(report)

    def _told(self, report: CStepReport) -> StepReport:
        told = _report_of(report)
        if self.on_step is not None:
            self.on_step(told)
        return told

    # ---- settings, the same on every rank but for the gradient scale

    @property
    def next_step(self) -> int:
        """The number of the next step, 1 at first."""
        number = c_int64()
        call("session_next_step", self._handle, byref(number))
        return number.value

    @next_step.setter
    def next_step(self, number: int) -> None:
        call("session_set_next_step", self._handle, number)

    @property
    def learning_rates(self) -> List[float]:
        """Of each group: the optimizer's own first, then those of ``[[optimizer.group]]`` in their order."""
        count = c_size_t()
        call("session_learning_rates", self._handle, None, byref(count))
        rates = (c_double * count.value)()
        call("session_learning_rates", self._handle, rates, byref(count))
        return list(rates)

    @learning_rates.setter
    def learning_rates(self, rates: Sequence[float]) -> None:
        call("session_set_learning_rates", self._handle, (c_double * len(rates))(*rates), len(rates))

    def set_gradient_scale(self, scale: float) -> None:
        """This rank's gradients are multiplied by this: 1/k where k batches were accumulated."""
        call("session_set_gradient_scale", self._handle, scale)

    def request_sync(self) -> None:
        """The next step brings all ranks together, where 0/1 Adam would go on locally."""
        call("session_request_sync", self._handle)

    @contextlib.contextmanager
    def at_anchor(self) -> Iterator[None]:
        """Meanwhile the parameters are those that all ranks share, also between two syncs of 0/1 Adam: to evaluate and save."""
        call("session_at_anchor", self._handle, 1)
        try:
            yield
        finally:
            call("session_at_anchor", self._handle, 0)

    # ---- what a session tells

    def report(self) -> Dict[str, Any]:
        """``step``, ``traffic`` (bytes, steps), ``timings`` (seconds), ``memory`` (bytes) and ``metrics`` of the process."""
        return json.loads(text_of("session_report", self._handle))

    def parameter_hash(self) -> int:
        """Of all parameters: equal on all ranks after every step but a local one."""
        value = c_uint64()
        call("session_parameter_hash", self._handle, byref(value))
        return value.value

    # ---- what ranks share besides

    def broadcast(self, array: Any, root: int = 0) -> None:
        """Collective. The array, in place, becomes rank ``root``'s: a bytearray, or one of torch or numpy, row by row on the
        CPU."""
        pointer, size, kept = bytes_of(array, "the array")
        self._waits("session_broadcast", c_void_p(pointer), size, root)
        del kept

    def all_reduce(self, values: Sequence[float], operation: str = "sum") -> List[float]:
        """Collective. ``"sum"``, ``"avg"``, ``"min"`` or ``"max"`` of each value over all ranks."""
        if operation not in _OPERATIONS:
            raise ValueError(f"operation is {operation!r}; expected one of {', '.join(_OPERATIONS)}")
        own = (c_double * len(values))(*values)
        self._waits("session_all_reduce", own, len(values), _OPERATIONS[operation])
        return list(own)

    # ---- checkpoints

    def save(
        self,
        root: Union[str, "os.PathLike[str]"],
        *,
        keep: int = 0,
        background: bool = False,
        skip_if_busy: bool = False,
        hash: str = "xxh3-128",
        of_rank: Optional[Mapping[str, bytes]] = None,
        of_all: Optional[Mapping[str, bytes]] = None,
    ) -> SaveReport:
        """Collective. Saves all that decides the next steps into a folder below root, which all ranks see.

        keep: complete checkpoints that stay; 0: all. background: returns when there is a copy, and a thread writes that;
        ``finish_save`` waits for it. of_rank, of_all: bytes of the program's own, each rank's, or rank 0's.
        """
        mine, all_ = _blobs(of_rank or {}), _blobs(of_all or {})
        options = SaveOptions(keep, background, skip_if_busy, 0, hash.encode(), mine, len(mine), all_, len(all_))
        out = c_void_p()
        self._waits("session_save", os.fsencode(root), byref(options), byref(out))
        return SaveReport(**json.loads(taken(out)))

    def finish_save(self) -> SaveReport:
        """Collective. Waits for a save in the background, and commits it."""
        out = c_void_p()
        self._waits("session_finish_save", byref(out))
        return SaveReport(**json.loads(taken(out)))

    def load(self, folder: Union[str, "os.PathLike[str]"], *, ignore_state: bool = False) -> LoadReport:
        """Collective. Goes on from a checkpoint, or from the latest that is whole below a root; with as many ranks as saved it,
        to the same bits. ignore_state: parameters alone. Raises UnavailableError where there is none."""
        out = c_void_p()
        self._waits("session_load", os.fsencode(folder), int(ignore_state), byref(out))
        return LoadReport(**json.loads(taken(out)))

    def loaded(self, name: str, *, of_all: bool = False) -> Optional[bytes]:
        """The bytes that the checkpoint loaded last has under this name; None: it has none."""
        out, size = c_void_p(), c_size_t()
        call("session_loaded", self._handle, _OF_ALL if of_all else _OF_RANK, name.encode(), byref(out), byref(size))
        return ctypes.string_at(out.value, size.value) if out.value else None


def _manifest(config: Union[str, "os.PathLike[str]", Manifest], overrides: List[str]) -> Handle:
    more = (texts(overrides), len(overrides))
    if isinstance(config, Manifest):
        return made("manifest_parse", config.text.encode(), config.name.encode(), os.fsencode(config.folder), *more)
    return made("manifest_load", os.fsencode(config), *more)


def _report_of(r: CStepReport) -> StepReport:
    flags = r.flags
    return StepReport(
        r.number,
        bool(flags & 1),
        bool(flags & 2),
        bool(flags & 4),
        r.gradient_norm,
        r.gradient_scale,
        r.absent,
        r.frozen_at,
        r.unseen,
        r.clamped_share,
    )


def _blobs(given: Mapping[str, bytes]) -> Any:
    return (Blob * len(given))(*(Blob(name.encode(), bytes(value), len(value)) for name, value in given.items()))
