#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The benchmark on slow networks: what 1-bit Adam gains over dense Adam in fp16 and fp32. `./dev bench slownet` builds and runs it.

Cells are run one after another, each on a rig of its own, and kept under --out; then tables and a picture are made of them.
"""

import argparse
import os
import pathlib
import platform
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "support"))  # what all benchmarks share

import bench_cells
import cells
import picture
import tables

ACCURACY = 0.88


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench slownet", description="1-bit Adam against dense Adam on slow networks")
    parser.add_argument("--quick", action="store_true", help="two hosts, few steps, no training to an accuracy: to see that it works")
    parser.add_argument("--out", type=pathlib.Path, default=bench_cells.SOURCE / "build/slownet", help="folder for all figures")
    parser.add_argument("--onebit", type=pathlib.Path, default=bench_cells.SOURCE / "build/release/bin/onebit", help="the command")
    parser.add_argument("--pytorch", type=pathlib.Path, help="a Python with PyTorch 2, whose DistributedDataParallel is then measured, too")
    return parser.parse_args()


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    processor = models[0] if models else platform.machine()
    return f"{os.cpu_count()} processors ({processor}), which all hosts share; Linux {platform.release()}"


def report(steps, pairs, ddp, accuracies):
    parts = [
        f"Measured on {machine()}.\n",
        f"An MLP of {steps[0]['summary']['parameters'] / 1e6:.1f} million parameters, {cells.BATCH} samples a rank and step:\n",
        tables.gain_table(steps),
        "Milliseconds a step. Where they go, on rank 0:\n",
        tables.step_table(steps),
        "A compressed step against its parts, each alone; the wire's is bytes / rate:\n",
        tables.alone_table(steps),
        "Milliseconds a step, by whether gradients are sent when all are there, or while backward computes (session.overlap):\n",
        tables.overlap_table(pairs),
    ]
    if ddp:
        parts += [f"PyTorch {ddp[0]['torch']}'s DistributedDataParallel over gloo, with its fp16 hook, on mlp_deep:\n", tables.ddp_table(ddp, pairs)]
    if accuracies:
        network = f"{accuracies[0]['summary']['parameters'] / 1e3:.1f} thousand parameters"
        parts += [f"Time to a test accuracy of {ACCURACY}, run to the end; the convolutional network of {network}:\n", tables.accuracy_table(accuracies, ACCURACY)]
    return "\n".join(parts)


def main():
    options = arguments()
    if not os.access(options.onebit, os.X_OK):
        sys.exit(f"bench: there is no {options.onebit}; build it with ./dev build, or name another by --onebit")
    runner = cells.Runner(options.onebit.resolve(), options.out.resolve())
    try:
        steps = [runner.result(cell) for cell in cells.grid(options.quick)]
        pairs = [runner.result(cell) for cell in cells.overlap(options.quick)]
        ddp = [runner.ddp(options.pytorch, rate) for rate in cells.DDP_RATES] if options.pytorch and not options.quick else []
        accuracies = [] if options.quick else [runner.result(cell) for cell in cells.to_accuracy()]
    except bench_cells.Failure as failure:
        sys.exit(f"bench: {failure}")
    except KeyboardInterrupt:
        sys.exit("bench: interrupted; what is done is kept, and the same command goes on from there")
    text = report(steps, pairs, ddp, accuracies)
    bench_cells.write_whole(runner.out / "tables.md", text)
    picture.draw(steps, runner.out / "slownet.svg")
    print(f"\n{text}\n==> {runner.out / 'tables.md'}, {runner.out / 'slownet.svg'}")


if __name__ == "__main__":
    main()
