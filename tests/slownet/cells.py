"""What the benchmark runs: one training run on the rig a cell. A cell's figures are kept in a folder of its own, so that a
benchmark that was interrupted goes on where it was; cells of another build are run again."""

import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import time
from dataclasses import asdict, dataclass

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parent.parent
BATCH = 32  # samples a rank takes in one step
LOG_EVERY = 2  # steps; up to a stage's first line in the log, steps are slower: they connect, and touch memory for the first time


class Failure(Exception):
    """A cell that could not be run. The text says why, and what to do."""


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
    """(name, file in configs/, settings). The dense stage of 1-bit Adam is that of the fp16 baseline."""
    yield "adam fp32", "adam", ("exchange.dense_dtype=fp32",)
    yield "adam fp16", "adam", ("exchange.dense_dtype=fp16",)
    yield "onebit_adam", "onebit_adam", ("exchange.dense_dtype=fp16", f"optimizer.freeze_step={freeze_step}")


def grid(quick):
    """Every configuration at every rate, on two and on four hosts. Few steps will do: they are all alike."""
    model = ("train.model=mlp", "optimizer.lr=1e-3", f"train.log_every={LOG_EVERY}")
    for hosts in (2,) if quick else (2, 4):
        for rate in ("100mbit", "1gbit", "unlimited"):
            measured = 2 if quick else 4 if rate == "100mbit" else 8
            for name, config, settings in configurations(freeze_step=LOG_EVERY):
                steps = LOG_EVERY + (measured if config == "adam" else LOG_EVERY + 2 * measured)
                yield Cell(name, config, model + settings, rate, hosts, steps)


def to_accuracy():
    """Whole runs, of a fifth dense where there is 1-bit Adam: of the small network, on a line that is slow for that one."""
    for name, config, settings in configurations(freeze_step=187):
        yield Cell(name, config, settings, "10mbit", hosts=2, steps=468, epochs=2, batch=64)


def fingerprint(command):
    """Of the command and its plugins."""
    files = [command, *sorted(command.parent.parent.glob("lib/**/*.so"))]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


class Runner:
    def __init__(self, command, out):
        self.command, self.out = command, out
        self.built = fingerprint(command)

    def result(self, cell):
        """The cell's figures: those kept, or else new ones."""
        kept = self.out / cell.folder / "result.json"
        wanted = json.loads(json.dumps(asdict(cell)))
        if kept.exists():
            result = json.loads(kept.read_text())
            if result["cell"] == wanted and result["built"] == self.built:
                return result
        began = time.monotonic()
        print(f"==> {cell.name}, {cell.hosts} hosts, {cell.rate}: {cell.epochs * cell.steps} steps", flush=True)
        result = {"cell": wanted, "built": self.built, **self.run(cell, kept.parent)}
        result["seconds"] = time.monotonic() - began
        write_whole(kept, json.dumps(result, indent=1) + "\n")
        return result

    def run(self, cell, folder):
        folder.mkdir(parents=True, exist_ok=True)
        log, counters = folder / "log.txt", folder / "counters.json"
        # the rig ends with the benchmark, however that ends
        rig = ["setpriv", "--pdeathsig", "TERM", HERE / "rig.sh", "--hosts", cell.hosts, "--rate", cell.rate, "--counters", counters, "--"]
        train = [self.command, "train", SOURCE / "configs" / f"{cell.config}.toml", "--out", folder, *cell.arguments()]
        line = [str(word) for word in rig + train]
        with open(log, "w", encoding="utf-8") as file:
            print(shlex.join(line), file=file, flush=True)
            status = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
        if status != 0:
            raise Failure(f"{cell.folder} ended with status {status}; the end of {log}:\n{tail(log)}")
        summary = json.loads((folder / "summary.json").read_text())
        if summary["skipped_steps"] > 0 or summary["steps"] != cell.epochs * cell.steps:
            raise Failure(f"{cell.folder} took {summary['steps']} steps and skipped {summary['skipped_steps']}; see {log}")
        metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        epochs = [line for line in metrics if "test_accuracy" in line]
        lines = [line for line in metrics if "timings" in line]
        return {"summary": summary, "counters": json.loads(counters.read_text()), "epochs": epochs, "log": lines}


def tail(file, lines=15):
    return "\n".join(file.read_text(errors="replace").splitlines()[-lines:])


def write_whole(file, text):
    temporary = file.with_suffix(".tmp")
    temporary.write_text(text)
    os.replace(temporary, file)
