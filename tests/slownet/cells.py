# SPDX-License-Identifier: Apache-2.0
"""What the benchmark runs: one training run on the rig a cell. A cell's figures are kept in a folder of its own, so that a
benchmark that was interrupted goes on where it was; cells of another build are run again."""

import json
import pathlib
import time
from dataclasses import asdict, dataclass

from bench_cells import SOURCE, Failure, fingerprint, keep, kept, metrics, run

HERE = pathlib.Path(__file__).resolve().parent
BATCH = 32  # samples a rank takes in one step
LOG_EVERY = 2  # steps; up to a stage's first line in the log, steps are slower: they connect, and touch memory for the first time


@dataclass(frozen=True)
class Cell:
    name: str  # what the tables call the configuration
    config: str  # in configs/
    settings: tuple  # of --set, beside those that all cells have
    rate: str
    hosts: int
    steps: int  # of an epoch
    epochs: int = 1
    batch: int = BATCH

    @property
    def folder(self):
        return f"{self.name.replace(' ', '_')}-{self.rate}-{self.hosts}-hosts-{self.epochs * self.steps}-steps"

    def arguments(self):
        settings = {
            "communicator.plugin": "mpi",
            "train.batch": self.batch,
            "train.epochs": self.epochs,
            "train.samples": self.steps * self.batch * self.hosts,
        }
        settings.update(setting.split("=", 1) for setting in self.settings)
        return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def configurations(freeze_step):
    """(name, file in configs/, settings). The dense stage of 1-bit Adam is that of the fp16 baseline. Its compressed steps have no
    refresh, of which a run has so few that in these short ones they would count for far more than they do."""
    yield "adam fp32", "adam", ("exchange.dense_dtype=fp32",)
    yield "adam fp16", "adam", ("exchange.dense_dtype=fp16",)
    yield "onebit_adam", "onebit_adam", ("exchange.dense_dtype=fp16", f"optimizer.freeze_step={freeze_step}", "optimizer.refresh=0")


def grid(quick):
    """Every configuration at every rate, on two and on four hosts. Few steps will do: they are all alike."""
    # without overlap, so that the parts of a step can be added up
    model = ("train.model=mlp", "optimizer.lr=1e-3", f"train.log_every={LOG_EVERY}", "session.overlap=false")
    for hosts in (2,) if quick else (2, 4):
        for rate in ("100mbit", "1gbit", "unlimited"):
            measured = 2 if quick else 4 if rate == "100mbit" else 8
            for name, config, settings in configurations(freeze_step=LOG_EVERY):
                steps = LOG_EVERY + (measured if config == "adam" else LOG_EVERY + 2 * measured)
                yield Cell(name, config, model + settings, rate, hosts, steps)


def overlap(quick):
    """Steps whose gradients are sent when all of them are there, and those sent while backward still computes others. mlp_deep
    has 14 layers; in mlp one layer has 87 % of the parameters, and its gradient is the last but one to come."""
    for model in ("mlp_deep",) if quick else ("mlp_deep", "mlp"):
        for rate in ("1gbit",) if quick else ("100mbit", "1gbit"):
            measured = 2 if quick else 4 if rate == "100mbit" else 8
            for name, config, settings in configurations(freeze_step=LOG_EVERY):
                steps = LOG_EVERY + (measured if config == "adam" else LOG_EVERY + 2 * measured)
                settings += (f"train.model={model}", "optimizer.lr=1e-3", f"train.log_every={LOG_EVERY}")
                for on in (False, True):
                    how = "with" if on else "without"
                    yield Cell(f"{model} {name} {how} overlap", config, settings + (f"session.overlap={str(on).lower()}",), rate, 2, steps)


DDP_RATES = {"100mbit": 4, "1gbit": 12}  # steps of PyTorch's DistributedDataParallel, on two hosts (ddp.py)


def to_accuracy():
    """Whole runs, of a fifth dense where there is 1-bit Adam: of the small network, on a line that is slow for that one."""
    for name, config, settings in configurations(freeze_step=187):
        yield Cell(name, config, settings, "10mbit", hosts=2, steps=468, epochs=2, batch=64)


class Runner:
    def __init__(self, command, out):
        self.command, self.out = command, out
        self.built = fingerprint(command)

    def result(self, cell):
        """The cell's figures: those kept, or else new ones."""
        folder = self.out / cell.folder
        identity = {"cell": json.loads(json.dumps(asdict(cell))), "built": self.built}
        result = kept(folder, identity)
        if result:
            return result
        began = time.monotonic()
        print(f"==> {cell.name}, {cell.hosts} hosts, {cell.rate}: {cell.epochs * cell.steps} steps", flush=True)
        result = {**identity, **self.run(cell, folder)}
        result["seconds"] = time.monotonic() - began
        keep(folder, result)
        return result

    def ddp(self, python, rate):
        """The same for PyTorch, by this Python, which has it."""
        folder = self.out / f"pytorch_ddp-{rate}"
        script = HERE / "ddp.py"
        identity = {"ddp": [str(python), script.read_text(encoding="utf-8"), rate, DDP_RATES[rate], BATCH]}
        result = kept(folder, identity)
        if result:
            return result
        print(f"==> PyTorch's DistributedDataParallel, 2 hosts, {rate}: {DDP_RATES[rate]} steps", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "log.txt"
        run([HERE / "rig.sh", "--hosts", 2, "--rate", rate, "--", python, script, DDP_RATES[rate], BATCH], log)
        told = next(line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith('{"torch"'))
        result = {**identity, "rate": rate, **json.loads(told)}
        keep(folder, result)
        return result

    def run(self, cell, folder):
        folder.mkdir(parents=True, exist_ok=True)
        log, counters = folder / "log.txt", folder / "counters.json"
        rig = [HERE / "rig.sh", "--hosts", cell.hosts, "--rate", cell.rate, "--counters", counters, "--"]
        run(rig + [self.command, "train", SOURCE / "configs" / f"{cell.config}.toml", "--out", folder, *cell.arguments()], log)
        summary = json.loads((folder / "summary.json").read_text())
        if summary["skipped_steps"] > 0 or summary["steps"] != cell.epochs * cell.steps:
            raise Failure(f"{cell.folder} took {summary['steps']} steps and skipped {summary['skipped_steps']}; see {log}")
        lines = metrics(folder)
        epochs = [line for line in lines if "test_accuracy" in line]
        timings = [line for line in lines if "timings" in line]
        return {"summary": summary, "counters": json.loads(counters.read_text()), "epochs": epochs, "log": timings}
