# SPDX-License-Identifier: Apache-2.0
"""libonebit.so by ctypes: its functions, structs, texts, and waits that Ctrl-C ends."""

import ctypes
import json
import logging
import os
import pathlib
import queue
import threading
from concurrent.futures import Future
from ctypes import (
    CDLL,
    POINTER,
    c_char_p,
    c_double,
    c_int32,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any, Callable, Dict, Optional, Sequence

from ._errors import error_of

logging.getLogger("onebit").addHandler(logging.NullHandler())  # quiet unless the program asks for its log

LOG_LEVELS = {"debug": 1, "info": 2, "warning": 3, "error": 4, "none": 0}
_PYTHON_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}


class Device(ctypes.Structure):
    _fields_ = [("type", c_int32), ("id", c_int32)]


class DType(ctypes.Structure):
    _fields_ = [("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16)]


class Tensor(ctypes.Structure):
    """DLPack's DLTensor."""

    _fields_ = [
        ("data", c_void_p),
        ("device", Device),
        ("ndim", c_int32),
        ("dtype", DType),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", c_uint64),
    ]


class Struct(ctypes.Structure):
    """One that begins with its size."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(ctypes.sizeof(type(self)), *args, **kwargs)


class Parameter(Struct):
    _fields_ = [("struct_size", c_uint64), ("name", c_char_p), ("tensor", Tensor), ("identity", c_uint64)]


class CStepReport(Struct):
    _fields_ = [
        ("struct_size", c_uint64),
        ("flags", c_uint64),
        ("number", c_int64),
        ("gradient_norm", c_double),
        ("gradient_scale", c_double),
        ("absent", c_int64),
        ("frozen_at", c_int64),
        ("unseen", c_int64),
        ("clamped_share", c_double),
    ]


class LaunchedRank(Struct):
    _fields_ = [
        ("struct_size", c_uint64),
        ("rank", c_int32),
        ("size", c_int32),
        ("local_rank", c_int32),
        ("local_size", c_int32),
        ("host", c_char_p),
        ("job", c_char_p),
        ("port", c_int64),
    ]


class MpiRanks(Struct):
    _fields_ = [
        ("struct_size", c_uint64),
        ("handle", c_int32),
        ("rank", c_int32),
        ("size", c_int32),
        ("local_rank", c_int32),
        ("local_size", c_int32),
        ("reserved", c_int32),
    ]


class Blob(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("bytes", c_char_p), ("size", c_size_t)]


class SaveOptions(Struct):
    _fields_ = [
        ("struct_size", c_uint64),
        ("keep", c_int32),
        ("background", c_int32),
        ("skip_if_busy", c_int32),
        ("reserved", c_int32),
        ("hash", c_char_p),
        ("of_rank", POINTER(Blob)),
        ("of_rank_count", c_size_t),
        ("of_all", POINTER(Blob)),
        ("of_all_count", c_size_t),
    ]


_TEXT = POINTER(c_void_p)  # of which the library frees what it gave
_HANDLE, _OUT = c_void_p, POINTER(c_void_p)
_TEXTS, _POINTERS, _PARAMETERS = POINTER(c_char_p), POINTER(c_void_p), POINTER(POINTER(Parameter))

# Of those that answer a code; the error that each takes last is left out.
_FALLIBLE: Dict[str, Sequence[Any]] = {
    "manifest_load": (c_char_p, _TEXTS, c_size_t, _OUT),
    "manifest_parse": (c_char_p, c_char_p, c_char_p, _TEXTS, c_size_t, _OUT),
    "registry_create": (c_int32, _OUT),
    "registry_load": (_HANDLE, _HANDLE, _TEXTS, c_size_t),
    "registry_describe": (_HANDLE, _TEXT),
    "registry_take_log": (_HANDLE, POINTER(c_int32), _TEXT),
    "configuration_create": (_HANDLE, _HANDLE, _OUT),
    "configuration_toml": (_HANDLE, _TEXT),
    "rendezvous_local": (c_int32, _OUT),
    "rendezvous_tcp": (POINTER(LaunchedRank), c_int64, _OUT),
    "rendezvous_environment": (c_int64, _OUT),
    "rendezvous_mpi": (POINTER(MpiRanks), _OUT),
    "rendezvous_interrupt": (_HANDLE,),
    "session_create": (_HANDLE, _HANDLE, _HANDLE, _PARAMETERS, c_size_t, _OUT),
    "session_abort": (_HANDLE, c_char_p),
    "session_ranks": (_HANDLE, POINTER(c_int32), POINTER(c_int32)),
    "session_step": (_HANDLE, _PARAMETERS, _POINTERS, c_size_t, c_void_p, POINTER(CStepReport)),
    "session_begin": (_HANDLE, _PARAMETERS, c_size_t, c_void_p),
    "session_ready": (_HANDLE, POINTER(c_int64), _POINTERS, c_size_t, c_void_p),
    "session_finish": (_HANDLE, POINTER(CStepReport)),
    "session_settle": (_HANDLE, POINTER(CStepReport)),
    "session_next_step": (_HANDLE, POINTER(c_int64)),
    "session_set_next_step": (_HANDLE, c_int64),
    "session_learning_rates": (_HANDLE, POINTER(c_double), POINTER(c_size_t)),
    "session_set_learning_rates": (_HANDLE, POINTER(c_double), c_size_t),
    "session_set_gradient_scale": (_HANDLE, c_double),
    "session_request_sync": (_HANDLE,),
    "session_at_anchor": (_HANDLE, c_int32),
    "session_parameter_hash": (_HANDLE, POINTER(c_uint64)),
    "session_report": (_HANDLE, _TEXT),
    "session_broadcast": (_HANDLE, c_void_p, c_size_t, c_int32),
    "session_all_reduce": (_HANDLE, POINTER(c_double), c_size_t, c_int32),
    "session_save": (_HANDLE, c_char_p, POINTER(SaveOptions), _TEXT),
    "session_finish_save": (_HANDLE, _TEXT),
    "session_load": (_HANDLE, c_char_p, c_int32, _TEXT),
    "session_loaded": (_HANDLE, c_int32, c_char_p, _OUT, POINTER(c_size_t)),
}
_FREEING = ("manifest_free", "registry_free", "configuration_free", "rendezvous_free", "session_free", "free")


def folder() -> pathlib.Path:
    """Where the wheel has ``bin`` and ``lib``; ``$ONEBIT_PREFIX`` names another one, such as a build folder."""
    given = os.environ.get("ONEBIT_PREFIX")
    return pathlib.Path(given) if given else pathlib.Path(__file__).resolve().parent


def _loaded() -> CDLL:
    file = folder() / "lib" / "libonebit.so.1"
    try:
        library = CDLL(str(file))
    except OSError as e:
        way_out = "is this wheel for this machine? $ONEBIT_PREFIX names another folder"
        raise ImportError(f"{file} can't be loaded: {e}; {way_out}") from e
    for name, arguments in _FALLIBLE.items():
        function = getattr(library, "onebit_" + name)
        function.argtypes, function.restype = (*arguments, c_void_p), c_int32
    for name in _FREEING:
        function = getattr(library, "onebit_" + name)
        function.argtypes, function.restype = (c_void_p,), None
    for name in ("version", "last_error"):
        getattr(library, "onebit_" + name).restype = c_char_p
    library.onebit_api_minor.restype = c_uint32
    return library


library = _loaded()
_functions = {name: getattr(library, "onebit_" + name) for name in _FALLIBLE}


def call(name: str, *arguments: Any) -> None:
    """Calls ``onebit_<name>``. Raises an :class:`onebit.Error` with all that it says."""
    code = _functions[name](*arguments, None)
    if code != 0:
        raise error_of(code, library.onebit_last_error().decode(errors="replace"))


def text_of(name: str, *arguments: Any) -> str:
    """The same, of a function that gives a text last."""
    out = c_void_p()
    call(name, *arguments, ctypes.byref(out))
    return taken(out)


def taken(text: c_void_p) -> str:
    if not text.value:
        return ""
    try:
        return ctypes.string_at(text.value).decode(errors="replace")
    finally:
        library.onebit_free(text)


def made(name: str, *arguments: Any) -> "Handle":
    """What a function makes: a handle, which frees it."""
    out = c_void_p()
    call(name, *arguments, ctypes.byref(out))
    return Handle(out, name.split("_")[0] + "_free")


def texts(values: Sequence[str]) -> Any:
    return (c_char_p * len(values))(*(value.encode() for value in values)) if values else None


class Handle:
    """An object of the library's. In a fork of the process that made it, it is left alone."""

    def __init__(self, value: c_void_p, free: str) -> None:
        self._as_parameter_ = value
        self._free = getattr(library, "onebit_" + free)
        self._process = os.getpid()

    def __bool__(self) -> bool:
        return bool(self._as_parameter_.value)

    def close(self) -> None:
        value, self._as_parameter_ = self._as_parameter_, c_void_p()
        if value.value and self._process == os.getpid():
            self._free(value)

    def __del__(self) -> None:
        self.close()


class Registry:
    """The plugins, and their log, which goes to the logger ``onebit``."""

    def __init__(self, log_level: str) -> None:
        if log_level not in LOG_LEVELS:
            raise ValueError(f"log_level is {log_level!r}; expected one of {', '.join(LOG_LEVELS)}")
        self.handle = made("registry_create", LOG_LEVELS[log_level])

    def tell_log(self) -> None:
        level, line = c_int32(), c_void_p()
        while True:
            call("registry_take_log", self.handle, ctypes.byref(level), ctypes.byref(line))
            if level.value == 0:
                return
            logging.getLogger("onebit").log(_PYTHON_LEVELS.get(level.value, logging.ERROR), "%s", taken(line))


# ---- waits


class _Waiter:
    """A thread for calls that wait, so that the main thread still hears Ctrl-C: handlers run between Python's steps only."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._calls: "queue.SimpleQueue[Any]" = queue.SimpleQueue()
        threading.Thread(target=self._run, name="onebit", daemon=True).start()

    def _run(self) -> None:
        while True:
            future, function = self._calls.get()
            try:
                future.set_result(function())
            except BaseException as e:  # noqa: BLE001: it is raised where it belongs
                future.set_exception(e)
            del future, function

    def run(self, function: Callable[[], Any], interrupt: Optional[Callable[[], None]]) -> Any:
        future: "Future[Any]" = Future()
        try:
            self._calls.put((future, function))
            return future.result()
        except BaseException:
            if not future.done() and interrupt is not None:
                interrupt()
                over: "Future[Any]" = Future()  # perhaps the first was not put yet: what is put now comes after it
                self._calls.put((over, lambda: None))
                over.result()
            raise


_waiter: Optional[_Waiter] = None


def waiting(function: Callable[[], Any], interrupt: Optional[Callable[[], None]] = None) -> Any:
    """Calls ``function``. What a signal's handler raises meanwhile, such as KeyboardInterrupt, is raised at once: after
    ``interrupt``, which must end the call; None: nothing can end it, so it goes on by itself, and its result is let go.
    """
    global _waiter
    if threading.current_thread() is not threading.main_thread():
        return function()
    if interrupt is None:
        return _Waiter().run(function, None)
    if _waiter is None or _waiter.process != os.getpid():
        _waiter = _Waiter()
    return _waiter.run(function, interrupt)


def version() -> str:
    """Of the library, as "1.0.0"."""
    return library.onebit_version().decode()


def plugins(*folders: str) -> Dict[str, Any]:
    """The plugins that are there, and what could not be loaded, with the reason.

    folders: to look in besides the built-in ones. Answers ``{"plugins": [{"name", "version", "file", "unavailable",
    "components": [{"kind", "name", "device"}]}], "failures": [{"file", "reason"}]}``.
    """
    registry = Registry("none")
    call("registry_load", registry.handle, None, texts(folders), len(folders))
    return json.loads(text_of("registry_describe", registry.handle))
