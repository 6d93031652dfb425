# SPDX-License-Identifier: Apache-2.0
"""The examples train: under onebit, dense and 1 bit, and, where torch has gloo, under DistributedDataParallel."""

import difflib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import torch.distributed
from ranks import free_port

EXAMPLES = pathlib.Path(os.environ.get("ONEBIT_PYTHON_EXAMPLES", pathlib.Path(__file__).parent / "examples"))


def losses(script, seed, folder=EXAMPLES):
    """The test loss of each of two ranks, as processes that find each other over TCP."""
    programs, port = [], str(free_port())
    for rank in range(2):
        launched = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        launched["OMP_NUM_THREADS"] = "1"
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, str(folder / script), str(seed)]
        programs.append(subprocess.Popen(command, env={**os.environ, **launched}, **pipes))
    told = [program.communicate(timeout=200) for program in programs]
    if any(program.returncode for program in programs):
        raise AssertionError(told)
    return [float(re.search(r"test loss ([0-9.]+)", out)[1]) for out, _ in told]


def dense_example(folder):
    """The example with a manifest of dense Adam."""
    text = (EXAMPLES / "onebit.toml").read_text()
    dense = re.sub(r"(?m)^freeze_step.*\n|^\[compressor\]\n.*\n", "", text.replace('"onebit_adam"', '"adam"'))
    (folder / "onebit.toml").write_text(dense)
    (folder / "train_onebit.py").write_text((EXAMPLES / "train_onebit.py").read_text())
    return folder


class Examples(unittest.TestCase):
    def test_dense_and_1_bit_learn_alike_and_both_ranks_have_one_model(self):
        with tempfile.TemporaryDirectory() as scratch:
            dense = dense_example(pathlib.Path(scratch))
            by_seed = [(losses("train_onebit.py", seed), losses("train_onebit.py", seed, dense)) for seed in range(2)]
        print("test losses, 1 bit and dense:", by_seed)
        for one_bit, plain in by_seed:
            self.assertEqual(one_bit[0], one_bit[1])
            self.assertEqual(plain[0], plain[1])
            self.assertLess(one_bit[0], 0.1)  # of 0.8 that an untrained network has
            self.assertLess(one_bit[0], plain[0] * 1.1)

    def test_ddp_learns_the_same_from_a_script_with_five_other_lines(self):
        ddp, own = ((EXAMPLES / name).read_text().splitlines() for name in ("train_ddp.py", "train_onebit.py"))
        code = [line for line in difflib.ndiff(ddp, own) if line[0] == "-" and "torchrun" not in line]
        self.assertLessEqual(len(code), 5, code)
        if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
            self.skipTest("this torch has no gloo")
        self.assertLess(abs(losses("train_ddp.py", 0)[0] / losses("train_onebit.py", 0)[0] - 1), 0.1)


if __name__ == "__main__":
    unittest.main()
