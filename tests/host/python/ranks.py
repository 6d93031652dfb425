# SPDX-License-Identifier: Apache-2.0
"""Ranks for tests: threads of this process, each with its own session."""

import socket
import threading

import numpy

import onebit

ADAM = onebit.Manifest('[optimizer]\nplugin = "adam"\nlr = 0.01\n[communicator]\nplugin = "threads"\n')
ONEBIT_ADAM = onebit.Manifest(
    '[optimizer]\nplugin = "onebit_adam"\nfreeze_step = 3\nlr = 0.01\n[compressor]\nplugin = "onebit"\n'
    '[communicator]\nplugin = "threads"\ntimeout = 60\n'
)
TCP = ADAM._replace(text=ADAM.text.replace("threads", "tcp"))


def exact_gradients(parameters, step, rank):
    """Numbers that are exact in fp32, and the same in every language."""
    return [
        (((numpy.arange(p.size) * 7 + step * 13 + rank * 5 + t * 3) % 17 - 8) / 16).astype(numpy.float32).reshape(p.shape)
        for t, p in enumerate(parameters.values())
    ]


class Ranks:
    def __init__(self, size):
        self.places = onebit.Rendezvous.local(size)

    def run(self, body, *arguments):
        """body(rank, place, ...) on a thread for each; answers what they answer. Raises what the first of them raised."""
        results, errors = [None] * len(self.places), []

        def one(rank):
            try:
                results[rank] = body(rank, self.places[rank], *arguments)
            except BaseException as e:  # noqa: BLE001: raised below
                errors.append(e)

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(len(self.places))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return results


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
