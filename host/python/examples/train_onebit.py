# SPDX-License-Identifier: Apache-2.0
"""Trains a small network by onebit, as onebit.toml beside it says: torchrun --nproc_per_node 2 train_onebit.py [SEED]"""

import sys

import onebit.torch
import torch

SEED = int(sys.argv[1]) if len(sys.argv) > 1 else 0
STEPS, BATCH = 600, 64


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(32, 128), torch.nn.Linear(128, 128)
        self.last = torch.nn.Linear(128, 8)

    def forward(self, inputs):
        return self.last(torch.tanh(self.second(torch.tanh(self.first(inputs)))))


def truth(inputs):
    """What the network is to learn: sines and sums of its inputs."""
    return torch.sin(3 * inputs[:, :8]) + inputs[:, 16:24]


def batch(generator):
    inputs = torch.rand(BATCH, 32, generator=generator) * 2 - 1
    return inputs, truth(inputs)


torch.manual_seed(SEED)
model = Network()
optimizer = onebit.torch.DistributedOptimizer(model, __file__.replace("train_onebit.py", "onebit.toml"))
rank = optimizer.session.rank
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
samples = torch.Generator().manual_seed(1000 * SEED + rank)

for step in range(STEPS):
    inputs, targets = batch(samples)
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(model(inputs), targets).backward()
    optimizer.step()
    schedule.step()

inputs = torch.rand(4096, 32, generator=torch.Generator().manual_seed(7)) * 2 - 1
with torch.no_grad():
    loss = torch.nn.functional.mse_loss(model(inputs), truth(inputs)).item()
print(f"rank {rank}: test loss {loss:.4f}", flush=True)
