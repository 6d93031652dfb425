# SPDX-License-Identifier: Apache-2.0
"""Data parallel training over slow networks.

:class:`onebit.torch.DistributedOptimizer` is for PyTorch loops; :class:`Session` beneath it is for everything else, with arrays
of torch, numpy, or any library that speaks DLPack.
"""

from ._errors import (
    AbortedError,
    DeviceError,
    Error,
    InternalError,
    InvalidArgumentError,
    PeerFailedError,
    StateMismatchError,
    TimeoutError,
    UnavailableError,
    UnsupportedError,
)
from ._library import plugins, version
from ._rendezvous import Rendezvous
from ._session import LoadReport, Manifest, SaveReport, Session, StepReport

__version__ = version()
__all__ = [
    "AbortedError",
    "DeviceError",
    "Error",
    "InternalError",
    "InvalidArgumentError",
    "LoadReport",
    "Manifest",
    "PeerFailedError",
    "Rendezvous",
    "SaveReport",
    "Session",
    "StateMismatchError",
    "StepReport",
    "TimeoutError",
    "UnavailableError",
    "UnsupportedError",
    "plugins",
    "version",
]
