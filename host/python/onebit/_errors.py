# SPDX-License-Identifier: Apache-2.0
"""Errors: the codes of onebit/abi.h as exceptions, with the same texts as in C++."""

import builtins


class Error(RuntimeError):
    """Whatever onebit refuses, or what went wrong in it. ``code`` is that of onebit/abi.h."""

    code = 10


class InvalidArgumentError(Error, ValueError):
    """A value that makes no sense, in a manifest or a call."""

    code = 1


class UnsupportedError(Error):
    """What can never be, whatever the moment."""

    code = 2


class UnavailableError(Error):
    """What is not there on this machine, or not now: a plugin, a file, a port."""

    code = 3


class OutOfMemoryError(Error, MemoryError):
    """Memory that the machine does not have."""

    code = 4


class TimeoutError(Error, builtins.TimeoutError):
    """Another rank did not come, or did not answer in time."""

    code = 5


class AbortedError(Error):
    """Another rank, or this one, ended the session."""

    code = 6


class PeerFailedError(Error, ConnectionError):
    """Another rank is gone."""

    code = 7


class DeviceError(Error):
    """A GPU, or its library, failed."""

    code = 8


class StateMismatchError(Error):
    """Ranks, files or steps that do not belong together."""

    code = 9


class InternalError(Error):
    """A fault of onebit's own."""


_BY_CODE = {
    kind.code: kind
    for kind in (
        InternalError,
        InvalidArgumentError,
        UnsupportedError,
        UnavailableError,
        OutOfMemoryError,
        TimeoutError,
        AbortedError,
        PeerFailedError,
        DeviceError,
        StateMismatchError,
    )
}


def error_of(code: int, message: str) -> Error:
    return _BY_CODE.get(code, InternalError)(message)
