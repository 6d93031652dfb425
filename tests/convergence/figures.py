# SPDX-License-Identifier: Apache-2.0
"""What follows from the cells' records: the quality of each optimizer over the seeds, and whether it is its dense parent's."""

import math
import statistics
from dataclasses import dataclass

import settings
from cells import Cell, of_seeds, stressed

DIVERGED = float("nan")  # the quality of a run that has none
NEVER = float("inf")  # the share of the steps after which the variance froze where it did not


def quality_of(workload, record):
    """The figure that counts; DIVERGED where a run ends with no finite loss, or has learnt nothing; None: there is no run."""
    if record is None:
        return None
    final = record["final"]
    quality = final[workload.quality]
    if quality is None or final["test_loss"] is None or final["train_loss"] is None:
        return DIVERGED
    learnt = quality > workload.chance if workload.more_is_better else quality < workload.chance
    return quality if learnt else DIVERGED


def has_diverged(quality):
    return quality is not None and quality != quality


def freeze_of(cell, record):
    """When it froze, as a share of the steps; NEVER; None where that does not apply."""
    if record is None or not cell.variant.parent:
        return None
    return record["freeze_step"] / (record["steps"] + record["skipped_steps"]) if record["freeze_step"] else NEVER


def mean(values):
    values = [value for value in values if value is not None]
    return sum(values) / len(values) if values else None


@dataclass(frozen=True)
class Row:
    """One optimizer on one workload, over all seeds."""

    cells: tuple
    records: tuple  # of each; None where there is none

    @property
    def workload(self):
        return self.cells[0].workload

    @property
    def variant(self):
        return self.cells[0].variant

    @property
    def qualities(self):
        return [quality_of(self.workload, record) for record in self.records]

    @property
    def known(self):
        return [quality for quality in self.qualities if quality is not None]

    @property
    def diverged(self):
        return sum(map(has_diverged, self.qualities))

    @property
    def mean(self):
        """Of the seeds that were run; DIVERGED where one of them has."""
        return mean(self.qualities)

    @property
    def spread(self):
        """From the worst seed to the best; None where that says nothing."""
        return max(self.known) - min(self.known) if len(self.known) > 1 and not self.diverged else None

    def mean_of(self, name):
        return mean([record and record[name] for record in self.records])

    def band_mean(self, of):
        """The loss on targets of the workload's band, or after inputs of it."""
        return mean([record and record.get("band", {}).get(of) for record in self.records])

    @property
    def freezes(self):
        return [freeze_of(cell, record) for cell, record in zip(self.cells, self.records)]


def rows(workload, variants, seeds, records, ranks=settings.RANKS):
    """Every variant's, by its name. seeds: of each; None: as many as it says. records: by the cells' names."""
    found = {variant.name: of_seeds(workload, variant, seeds, ranks) for variant in variants}
    return {name: Row(tuple(cells), tuple(records.get(cell.name) for cell in cells)) for name, cells in found.items()}


def worse_by(workload, quality, than):
    """How much worse; negative where it is better."""
    return than - quality if workload.more_is_better else quality - than


def against(workload, quality, best, worst):
    if worse_by(workload, quality, best) < 0:
        return "better"
    beyond = worse_by(workload, quality, worst)
    return "within" if beyond <= 0 else f"worse by {beyond:.4f}"


def pairs(row, parent):
    """[(quality, the parent's)] of the seeds that both were run with."""
    return [pair for pair in zip(row.qualities, parent.qualities) if None not in pair]


def verdict(row, parent):
    """Whether the mean is no worse than the worst seed of the dense parent, over the seeds that both were run with."""
    if row.diverged:
        return f"diverged ({row.diverged} of {len(row.known)})"
    if parent.diverged:
        return "the parent diverged"
    found, expected = zip(*pairs(row, parent)) if pairs(row, parent) else ([], [])
    if not found:
        return "-"
    worst, best = min(expected), max(expected)
    if not row.workload.more_is_better:
        worst, best = best, worst
    return against(row.workload, mean(found), best, worst)


T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776}  # Student's t by degrees of freedom: half the width of a 95 % interval


def paired(row, parent):
    """By which share it is worse than its parent, pair by pair: (the mean, half of its 95 % interval); None where there are
    too few pairs, or one has diverged."""
    shares = [worse_by(row.workload, found, expected) / expected for found, expected in pairs(row, parent)]
    freedom = len(shares) - 1
    if freedom not in T_975 or any(map(has_diverged, shares)):
        return None
    return mean(shares), T_975[freedom] * statistics.stdev(shares) / math.sqrt(len(shares))


@dataclass(frozen=True)
class Stressed:
    """One optimizer where it is harder, and its dense parent likewise."""

    about: str
    cell: Cell
    record: dict
    parent: dict

    @property
    def quality(self):
        return quality_of(self.cell.workload, self.record)

    @property
    def parent_quality(self):
        return quality_of(self.cell.workload, self.parent)

    def verdict(self, spread):
        """Whether it is no further behind than `spread`, which is that of the dense parent's seeds where nothing is harder."""
        workload, quality, parent = self.cell.workload, self.quality, self.parent_quality
        if has_diverged(quality):
            return "diverged"
        if has_diverged(parent):
            return "the parent diverged"
        if None in (quality, parent, spread):
            return "-"
        return against(workload, quality, parent, parent - spread if workload.more_is_better else parent + spread)


def stress(workload, records):
    found = stressed(workload)
    return [Stressed(about, cell, records.get(cell.name), records.get(parent.name)) for about, cell, parent in found]
