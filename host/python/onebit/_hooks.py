# SPDX-License-Identifier: Apache-2.0
"""Hooks of PyTorch that tell of gradients as they come, in chunks: what one tensor costs is an append and a count."""

import weakref
from typing import Any, Callable, Iterable, List, Sequence, Tuple

import torch

_CHUNK_BYTES = 1 << 20  # of gradients that are told to the session at once


def chunks_of(items: Iterable[Any], bytes_of: Callable[[Any], int], enough: int) -> List[List[Any]]:
    """Neighbours together, until they have so many bytes."""
    chunks: List[List[Any]] = []
    size = enough
    for item in items:
        if size >= enough:
            chunks.append([])
            size = 0
        chunks[-1].append(item)
        size += bytes_of(item)
    return chunks


class Hooks:
    """Calls ``come(chunk)`` of their owner when as many gradients of a chunk have come as did in the step before, and at each
    one after that, before the first step, and while they are closed. The parameters keep them, and they know their owner
    weakly, or neither would ever go."""

    def __init__(self, tensors: Sequence[torch.Tensor], come: Callable[[int], None]) -> None:
        last_first = reversed(range(len(tensors)))  # as their gradients come
        chunks = chunks_of(last_first, lambda k: 4 * tensors[k].numel(), _CHUNK_BYTES)
        owner = weakref.WeakMethod(come)
        self._came: List[List[int]] = [[] for _ in chunks]  # numbers, in that order
        self._expected = [0] * len(chunks)
        self._left = [0] * len(chunks)
        self._open = False
        self._kept = [
            _hook(tensors[k], k, number, self._came[number], self._left, owner)
            for number, chunk in enumerate(chunks)
            for k in chunk
        ]

    def open(self) -> None:
        """A step begins."""
        self._left[:] = self._expected
        self._open = True

    def close(self) -> None:
        """The step has ended, or there is none."""
        if self._open:
            self._expected = [before - left for before, left in zip(self._expected, self._left)]
        self._left[:] = [0] * len(self._left)
        self._open = False
        for numbers in self._came:
            numbers.clear()

    def taken(self, chunk: int) -> List[int]:
        """The numbers of the gradients that have come since this was called last."""
        numbers = list(self._came[chunk])
        self._came[chunk].clear()
        return numbers

    def put_back(self, chunk: int, numbers: List[int]) -> bool:
        """These came just before open, and count. Answers whether the chunk waits for more."""
        self._came[chunk].extend(numbers)
        self._left[chunk] -= len(numbers)
        return self._left[chunk] > 0

    def __del__(self) -> None:
        for handle, _ in self._kept:
            handle.remove()


def _hook(
    p: torch.Tensor, k: int, chunk: int, numbers: List[int], left: List[int], owner: "weakref.WeakMethod[Any]"
) -> Tuple[Any, Any]:
    def came(*_: Any) -> None:
        numbers.append(k)
        left[chunk] -= 1
        if left[chunk] < 1:
            come = owner()
            if come is not None:
                come(chunk)

    if hasattr(p, "register_post_accumulate_grad_hook"):  # since 2.1
        return p.register_post_accumulate_grad_hook(came), None
    accumulator = p.expand_as(p).grad_fn.next_functions[0][0]
    return accumulator.register_hook(came), accumulator
