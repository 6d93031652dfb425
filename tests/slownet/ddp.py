#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One rank of PyTorch's DistributedDataParallel over gloo, with its fp16 hook, on the benchmark's model mlp_deep: what onebit's
steps are compared with. bench.py runs it on the rig where a Python with PyTorch 2 is there.

usage: ./dev slownet --hosts 2 --rate 100mbit -- PYTHON tests/slownet/ddp.py STEPS BATCH
Prints, on rank 0, PyTorch's version and the mean of the seconds of a step, as JSON. The first two steps do not count."""

import json
import os
import statistics
import sys
import time

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
from torch.nn.parallel import DistributedDataParallel

WIDTH, LAYERS = 1408, 14  # as in host/models/model_sizes.hpp
SLOWER = 2  # steps: they connect, and choose buckets


def mlp_deep():
    widths = [784] + [WIDTH] * (LAYERS - 1) + [10]
    layers = []
    for number, (have, give) in enumerate(zip(widths, widths[1:])):
        layers += [torch.nn.ReLU()] if number else []
        layers += [torch.nn.Linear(have, give)]
    return torch.nn.Sequential(*layers)


def main():
    steps, batch = int(sys.argv[1]), int(sys.argv[2])
    rank, size = (int(os.environ[f"OMPI_COMM_WORLD_{name}"]) for name in ("RANK", "SIZE"))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "eth0")
    torch.set_num_threads(1)
    torch.manual_seed(1)
    dist.init_process_group("gloo", init_method="tcp://10.77.0.1:7100", rank=rank, world_size=size)
    model = DistributedDataParallel(mlp_deep())
    model.register_comm_hook(None, fp16_compress_hook)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    images, labels = torch.randn(batch, 784), torch.randint(10, (batch,))
    seconds = []
    for _ in range(SLOWER + steps):
        began = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    if rank == 0:
        print(json.dumps({"torch": torch.__version__, "seconds": statistics.fmean(seconds[SLOWER:])}), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
