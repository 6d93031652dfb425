# SPDX-License-Identifier: Apache-2.0
"""The benchmark's tables, in Markdown."""

import figures
import settings
from bench_report import markdown
from figures import has_diverged

LEGEND = """Against its dense parent: "better" where the mean is better than the parent's best seed, "within" where it is no
worse than its worst, else what it lacks to that. A run is "diverged" where its loss is not finite in the end, or where it has
learnt nothing.
"""
NAMES = {"test_accuracy": "test accuracy", "test_loss": "test loss"}


def figure(quality):
    return "-" if quality is None else "diverged" if has_diverged(quality) else f"{quality:.4f}"


def share(freezes):
    """From the first to the last, as shares of the steps."""
    found = [freeze for freeze in freezes if freeze is not None]
    if not found:
        return "-"
    first, last = ("never" if freeze == figures.NEVER else f"{100 * freeze:.1f} %" for freeze in (min(found), max(found)))
    return first if first == last else f"{first} to {last}"


def count(value):
    return "-" if value is None else f"{value:.0f}"


def megabytes(value):
    return "-" if value is None else f"{value / 1e6:.1f}"


def times(dense, sent):
    return f"{dense / sent:.1f}x" if dense and sent else "-"


def optimizer_rows(rows):
    for row in rows.values():
        parent = rows.get(row.variant.parent)
        sent = row.mean_of("bytes_sent")
        yield [
            row.variant.name,
            *map(figure, row.qualities),
            figure(row.mean),
            figure(row.spread),
            figures.verdict(row, parent) if parent else "-" if row.variant.parent else "(dense)",
            *([figure(row.band_mean(of)) for of in ("target", "input")] if row.workload.band else []),
            megabytes(sent),
            times(parent and parent.mean_of("bytes_sent"), sent),
            share(row.freezes),
            count(row.mean_of("skipped_steps")),
        ]


def optimizer_table(rows, seeds):
    header = ["optimizer", *(f"seed {seed}" for seed in range(1, seeds + 1)), "mean", "spread", "against its dense parent"]
    band = next(iter(rows.values())).workload.band
    header += [f"on targets: {band}", f"after inputs: {band}"] if band else []
    header += ["MB sent a rank", "less than the parent", "freeze after", "skipped steps"]
    return markdown(header, optimizer_rows(rows), names=1)


def stress_rows(workload, rows, records):
    for found in figures.stress(workload, records):
        variant, parent = found.cell.variant, rows.get(found.cell.variant.parent)
        spread = parent.spread if parent else None
        yield [
            found.about,
            variant.name,
            figure(found.quality),
            figure(found.parent_quality),
            figure(spread),
            found.verdict(spread),
            times(found.parent and found.parent["bytes_sent"], found.record and found.record["bytes_sent"]),
            share([figures.freeze_of(found.cell, found.record)]),
            count(found.record and found.record["skipped_steps"]),
        ]


def stress_table(workload, rows, records):
    header = ["what is harder", "optimizer", NAMES[workload.quality], "its dense parent", "spread allowed"]
    header += ["against its dense parent", "less than the parent", "freeze after", "skipped steps"]
    return markdown(header, sorted(stress_rows(workload, rows, records), key=lambda line: line[0]), names=2)


def automatic_rows(rows):
    """The automatic freeze of each optimizer against the fixed ones that were tried."""
    for row in (row for row in rows.values() if row.variant.form == "auto"):
        tried = [r for r in rows.values() if (r.variant.optimizer, r.variant.form) == (row.variant.optimizer, "fixed")]
        tried = [r for r in tried if r.known and not r.diverged]
        if not tried or row.mean is None:
            continue
        best = min(tried, key=lambda r: figures.worse_by(row.workload, r.mean, row.mean))
        behind = figures.worse_by(row.workload, row.mean, best.mean)
        said = "diverged" if row.diverged else "no worse" if behind <= 0 else f"worse by {behind:.4f}"
        spread = rows[row.variant.parent].spread if row.variant.parent in rows else None
        yield [row.variant.name, figure(row.mean), best.variant.name, figure(best.mean), said, figure(spread)]


def automatic_table(rows):
    lines = list(automatic_rows(rows))
    header = ["automatic freeze", "mean", "best fixed freeze", "mean", "the automatic one is", "spread of the dense parent"]
    return markdown(header, lines, names=1) if lines else ""


def stages_line(rows):
    """The better of 0/1 Adam's two variance stages."""
    row = {found.variant.form: found for found in rows.values() if found.variant.optimizer == "zeroone_adam"}
    if not all(form in row and row[form].known for form in ("momentum", "gradient")):
        return ""
    momentum, gradient = row["momentum"], row["gradient"]
    if momentum.diverged or gradient.diverged:
        return ""
    behind = figures.worse_by(momentum.workload, momentum.mean, gradient.mean)
    better = "neither is better" if behind == 0 else "momentum is better" if behind < 0 else "gradient is better"
    return f"0/1 Adam's variance stages: momentum {figure(momentum.mean)}, gradient {figure(gradient.mean)}; {better}.\n"


def of_workload(workload, variants, seeds, stress, records):
    """All that is told of one workload."""
    rows = figures.rows(workload, variants, seeds, records)
    known = [record for row in rows.values() for record in row.records if record]
    steps = known[0]["steps"] if known else workload.steps
    title = f"### {workload.about}: {NAMES[workload.quality]}\n"
    about = f"{steps} steps of {workload.samples_a_step} samples on {settings.RANKS} ranks.\n"
    parts = [title, about, optimizer_table(rows, seeds), automatic_table(rows), stages_line(rows)]
    if stress:
        about = f"Where it is harder, seed 1; {settings.MANY_RANKS} ranks share the same samples a step:\n"
        parts += [about, stress_table(workload, rows, records)]
    return "\n".join(part for part in parts if part)
