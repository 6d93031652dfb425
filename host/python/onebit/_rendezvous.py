# SPDX-License-Identifier: Apache-2.0
"""Where ranks meet."""

import ctypes
from typing import Any, Callable, List, Optional

from ._library import Handle, LaunchedRank, MpiRanks, c_void_p, call, made, waiting


class Rendezvous:
    """One rank's way to the others, for one session, which closes it."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle

    @staticmethod
    def environment(timeout: float = 300.0) -> "Optional[Rendezvous]":
        """Of a process that torchrun or the like has started: by RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; None where
        these are not set. timeout: seconds, for the other ranks to come, and for each of their answers.

        Raises InvalidArgumentError where the variables make no sense, TimeoutError where rank 0 does not come.
        """
        handle = _joined(timeout, lambda ns: made("rendezvous_environment", ns))
        return Rendezvous(handle) if handle else None

    @staticmethod
    def tcp(
        rank: int,
        size: int,
        host: str,
        port: int,
        *,
        local_rank: Optional[int] = None,
        local_size: Optional[int] = None,
        job: str = "",
        timeout: float = 300.0,
    ) -> "Rendezvous":
        """Ranks that are processes: rank 0 serves a store at host:port, where the others call. local_rank, local_size: among
        the ranks of this machine; by default all are on one."""
        self = LaunchedRank(
            rank,
            size,
            rank if local_rank is None else local_rank,
            size if local_size is None else local_size,
            host.encode(),
            job.encode(),
            port,
        )
        return Rendezvous(_joined(timeout, lambda ns: made("rendezvous_tcp", ctypes.byref(self), ns)))

    @staticmethod
    def local(ranks: int) -> "List[Rendezvous]":
        """Ranks that are threads of this process, for communicator ``threads``: one for each."""
        out = (c_void_p * ranks)()
        call("rendezvous_local", ranks, out)
        return [Rendezvous(Handle(c_void_p(one), "rendezvous_free")) for one in out]

    @staticmethod
    def mpi(comm: Any) -> "Rendezvous":
        """Ranks of a communicator of mpi4py's, for communicator ``mpi``. Collective. comm outlives the session's opening."""
        import mpi4py.MPI as MPI  # noqa: N814: its own name

        machine = comm.Split_type(MPI.COMM_TYPE_SHARED)
        self = MpiRanks(comm.py2f(), comm.Get_rank(), comm.Get_size(), machine.Get_rank(), machine.Get_size(), 0)
        machine.Free()
        return Rendezvous(made("rendezvous_mpi", ctypes.byref(self)))

    def close(self) -> None:
        """Rank 0 waits until the others have come and gone, ten seconds at the most."""
        self.handle.close()

    def interrupt(self) -> None:
        """Ends what waits here, with AbortedError; any thread."""
        call("rendezvous_interrupt", self.handle)


def _joined(timeout: float, attempt: Callable[[int], Handle]) -> Handle:
    if not timeout > 0:
        raise ValueError(f"timeout is {timeout!r}; expected seconds above 0")
    return waiting(lambda: attempt(int(timeout * 1e9)))
