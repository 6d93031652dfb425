# SPDX-License-Identifier: Apache-2.0
"""Hooks of PyTorch that tell of gradients as they come, in chunks: what one tensor costs is an append and a count."""

import weakref
from typing import Any, Callable, List, Sequence, Tuple

import torch

_CHUNK_BYTES = 1 << 20  # of gradients that are told to the session at once


def _chunks(tensors: Sequence[torch.Tensor]) -> List[List[int]]:
    """Numbers of neighbours, the last tensors first, as their gradients come."""
    chunks: List[List[int]] = []
    size = _CHUNK_BYTES
    for k in reversed(range(len(tensors))):
        if size >= _CHUNK_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(k)
        size += 4 * tensors[k].numel()
    return chunks


class Hooks:
    """Calls ``come(chunk)`` of their owner when as many gradients of a chunk have come as did in the step before, and at each
    one after that, before the first step, and while they are closed. The parameters keep them, and they know their owner
    weakly, or neither would ever go."""

    def __init__(self, tensors: Sequence[torch.Tensor], come: Callable[[int], None]) -> None:
        chunks = _chunks(tensors)
        owner = weakref.WeakMethod(come)
        #: By chunk: the numbers of the gradients that have come and were not told yet, in that order.
        self.came: List[List[int]] = [[] for _ in chunks]
        self._expected = [0] * len(chunks)
        self._left = [0] * len(chunks)
        self._open = False
        self._kept = [
            _hook(tensors[k], k, number, self.came[number], self._left, owner)
            for number, chunk in enumerate(chunks)
            for k in chunk
        ]

    def open(self) -> None:
        """A step begins. What had come before is forgotten."""
        self._left[:] = self._expected
        self._open = True
        for numbers in self.came:
            numbers.clear()

    def close(self) -> None:
        """The step has ended, or there is none."""
        if self._open:
            self._expected = [before - left for before, left in zip(self._expected, self._left)]
        self._left[:] = [0] * len(self._left)
        self._open = False
        for numbers in self.came:
            numbers.clear()

    def again(self, chunk: int, numbers: List[int]) -> bool:
        """What had come before open has come all the same. Answers whether the chunk waits for more."""
        self.came[chunk].extend(numbers)
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
