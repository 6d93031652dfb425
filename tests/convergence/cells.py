# SPDX-License-Identifier: Apache-2.0
"""Cells of the convergence benchmark: one training run each. What a run needs is in its command; what is kept of it is a record
of a few figures, the same in the cell's folder and in the results that the tables are made from."""

import hashlib
import json
import re
import shlex
import subprocess
from dataclasses import dataclass

import bench_cells
import settings
from bench_cells import SOURCE, Failure
from settings import Share, Variant, Workload


EVALUATION = ("step", "bytes_sent", "test_loss", "test_accuracy")  # what is kept of each, in this order


@dataclass(frozen=True)
class Cell:
    workload: Workload
    variant: Variant
    seed: int
    ranks: int = settings.RANKS
    factor: int = 1  # of the learning rate

    @property
    def name(self):
        """Also its folder's."""
        variant = re.sub(r"[^a-z0-9_]+", "-", self.variant.name.replace("'", "")).strip("-")
        return f"{self.workload.name}-{variant}-{self.ranks}-ranks-{self.factor}x-lr-seed-{self.seed}"

    @property
    def config(self):
        return SOURCE / "configs" / f"{self.variant.optimizer}.toml"

    def arguments(self):
        """Of `onebit train`, all but the folder."""
        rate = dict(self.workload.learning_rate)[self.variant.family] * self.factor
        pairs = [
            ("communicator.plugin", "threads"),
            ("train.ranks", self.ranks),
            ("train.samples", self.workload.samples),
            ("train.epochs", self.workload.epochs),
            ("train.batch", self.workload.samples_a_step // self.ranks),
            ("train.warmup_steps", settings.WARM_UP),
            ("train.seed", self.seed),
            *self.workload.settings,
            ("optimizer.lr", f"{rate:g}"),
            *self.variant.settings,
        ]
        return [word for key, value in pairs for word in ("--set", f"{key}={self.typed(value)}")]

    def typed(self, value):
        return str(value.of(self.workload.steps) if isinstance(value, Share) else value)

    def fixed_freeze(self):
        """The last step before the freeze where one is set; else None."""
        for key, value in self.variant.settings:
            if key.endswith("freeze_step") and isinstance(value, Share):
                return value.of(self.workload.steps)
        return None

    def key(self):
        """A hash of all that the run is asked to do. Comments in its manifest do not count, nor what changes no bit."""
        manifest = self.config.read_text(encoding="utf-8") if self.config.exists() else ""
        lines = [re.sub(r"\s*(^|\s)#.*", "", line) for line in manifest.splitlines()]
        asked = [line for line in lines if line and not line.startswith(settings.CHANGE_NO_BIT)]
        text = json.dumps([asked, self.arguments()])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def of_seeds(workload, variant, seeds=None, ranks=settings.RANKS):
    """seeds: how many, where it is not what the variant says."""
    return [Cell(workload, variant, seed, ranks) for seed in range(1, (seeds or variant.seeds) + 1)]


def on_other_ranks(workload, seeds=None):
    """Of the compressed optimizers. A dense one does not see how many ranks share the samples of a step."""
    compressed = [variant for variant in settings.MAIN if variant.parent]
    pairs = ((variant, ranks) for ranks in workload.other_ranks for variant in compressed)
    return [cell for variant, ranks in pairs for cell in of_seeds(workload, variant, seeds or settings.SEEDS, ranks)]


def stressed(workload):
    """(what is hard about it, the cell, its dense parent's), of one seed."""
    dense = {variant.name: variant for variant in settings.MAIN if not variant.parent}
    for variant in settings.STRESSED:
        parent, factor = dense[variant.parent], settings.FACTOR
        faster = (Cell(workload, form, 1, factor=factor) for form in (variant, parent))
        yield f"{factor}x the learning rate", *faster
        yield f"freeze at {settings.EARLY} %", Cell(workload, variant.freezing_at(settings.EARLY), 1), Cell(workload, parent, 1)


def planned(workloads, variants, seeds, stress):
    """All cells, each once; all of one seed before the next, so that what is there of an interrupted benchmark compares."""
    cells = [cell for workload in workloads for variant in variants for cell in of_seeds(workload, variant, seeds)]
    if stress:
        cells += [cell for workload in workloads for cell in on_other_ranks(workload, seeds)]
        cells += [cell for workload in workloads for _, *pair in stressed(workload) for cell in reversed(pair)]
    return sorted(dict.fromkeys(cells), key=lambda cell: cell.seed)


class Runner:
    """rebuilt: whether what another build left is run again."""

    def __init__(self, command, out, rebuilt=False):
        self.command, self.out, self.rebuilt = command, out, rebuilt
        self.versions = installed(command)
        self.built = bench_cells.fingerprint(command)
        self.processes, self.stopped = [], False

    def stop(self):
        """Ends what runs, and what is just about to."""
        self.stopped = True
        for process in self.processes:
            process.terminate()  # does nothing to one that has ended

    def started(self, process):
        self.processes.append(process)
        if self.stopped:
            process.terminate()

    def kept(self, cell):
        """The cell's record, where it is of this configuration and these versions of the plugins."""
        identity = {"key": cell.key(), **({"built": self.built} if self.rebuilt else {})}
        record = bench_cells.kept(self.out / cell.name, identity)
        if not record or any(self.versions.get(text.split()[0], text) != text for text in record["versions"].values()):
            return None
        return record

    def run(self, cell):
        folder = self.out / cell.name
        folder.mkdir(parents=True, exist_ok=True)
        if not cell.config.exists():
            raise Failure(f"{cell.name} needs {cell.config}, which is not there")
        # -v: what the automatic freeze was decided by
        line = [self.command, "-v", "train", cell.config, "--out", folder, *cell.arguments()]
        try:
            bench_cells.run(line, folder / "log.txt", self.started)
        except Failure:
            if not diverged(folder):  # that is a result, too
                raise
        summary = summary_in(folder)
        if summary["interrupted"]:
            raise Failure(f"{cell.name} was interrupted")
        record = {"key": cell.key(), "built": self.built, **record_of(cell, summary, folder)}
        bench_cells.keep(folder, record)
        return record


def summary_in(folder):
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def diverged(folder):
    """Whether the run has failed for its numbers: steps were skipped, or the loss is not finite. `onebit train` leaves no summary
    of an earlier run."""
    if not (folder / "summary.json").exists() or summary_in(folder).get("status") != "failed":
        return False
    losses = [line["test_loss"] for line in bench_cells.metrics(folder) if "test_loss" in line]
    return summary_in(folder)["skipped_steps"] > 0 or None in losses


def record_of(cell, summary, folder):
    evaluations = [line for line in bench_cells.metrics(folder) if "test_loss" in line]
    return {
        "cell": cell.name,
        "steps": summary["steps"],
        "skipped_steps": summary["skipped_steps"],
        "final": {name: rounded(summary[f"final_{name}"]) for name in ("test_loss", "test_accuracy", "train_loss")},
        **band_of(cell.workload.band, summary),
        "bytes_sent": summary["bytes_sent_per_rank"],
        "freeze_step": freeze_step(cell, (folder / "log.txt").read_text(encoding="utf-8")),
        "stage_steps": summary["stage_steps"],
        "seconds": round(summary["train_seconds"], 1),
        "versions": {part: version for part, version in summary["versions"].items() if version},
        "evaluations": [[rounded(line[name]) for name in EVALUATION] for line in evaluations],
    }


def band_of(band, summary):
    """The losses of a band: of targets in it, and of what comes after inputs in it."""
    found = {of: summary.get(f"final_test_loss_by_{of}", {}).get(band) for of in ("target", "input")} if band else {}
    return {"band": {of: rounded(loss) for of, loss in found.items()}} if any(found.values()) else {}


def rounded(value):
    return value if value is None else round(value, 6)


def freeze_step(cell, log):
    """The last step before the freeze; None where there was none: a dense optimizer, or variance that never was stable."""
    if cell.fixed_freeze() or not cell.variant.parent:
        return cell.fixed_freeze()
    told = re.search(r"step (\d+) is the last dense one", log)
    return int(told[1]) if told else None


def installed(command):
    """What a summary calls the versions: {"adam": "adam 0.1.0"}."""
    line = [str(command), "plugins", "list", "--json"]
    listing = subprocess.run(line, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        raise Failure(f"{shlex.join(line)} ended with status {listing.returncode}: {listing.stderr.strip()}")
    return {
        component["name"]: f"{component['name']} {plugin['version']}"
        for plugin in json.loads(listing.stdout)["plugins"]
        for component in plugin["components"]
    }
