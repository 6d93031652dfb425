# SPDX-License-Identifier: Apache-2.0
"""The benchmark's tables, in Markdown."""

import figures
import settings
from bench_report import markdown
from figures import has_diverged

LEGEND = """Against its dense parent: "better" where the mean is better than the parent's best seed, "within" where it is no
worse than its worst, else what it lacks to that; over the seeds that both were run with. "Worse, pair by pair" is the mean
difference to the parent's run of the same seed, in % of its figure, and half of that mean's 95 % interval (Student's t). A run
is "diverged" where its loss is not finite in the end, or where it has learnt nothing.
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


def interval(pair):
    return "-" if pair is None else f"{100 * pair[0]:+.2f} % ± {100 * pair[1]:.2f} %"


def optimizer_rows(rows, seeds):
    for row in rows.values():
        parent = rows.get(row.variant.parent)
        sent = row.mean_of("bytes_sent")
        yield [
            row.variant.name,
            *map(figure, row.qualities),
            *["-"] * (seeds - len(row.qualities)),
            figure(row.mean),
            figure(row.spread),
            figures.verdict(row, parent) if parent else "-" if row.variant.parent else "(dense)",
            interval(figures.paired(row, parent) if parent else None),
            *([figure(row.band_mean(of)) for of in ("target", "input")] if row.workload.band else []),
            megabytes(sent),
            times(parent and parent.mean_of("bytes_sent"), sent),
            share(row.freezes),
            count(row.mean_of("skipped_steps")),
        ]


def optimizer_table(rows):
    seeds = max(len(row.cells) for row in rows.values())
    header = ["optimizer", *(f"seed {seed}" for seed in range(1, seeds + 1)), "mean", "spread", "against its dense parent"]
    header += ["worse, pair by pair"]
    band = next(iter(rows.values())).workload.band
    header += [f"on targets: {band}", f"after inputs: {band}"] if band else []
    header += ["MB sent a rank", "less than the parent", "freeze after", "skipped steps"]
    return markdown(header, optimizer_rows(rows, seeds), names=1)


def summary_cell(row, rows):
    if row.mean is None:
        return "-"
    parent = rows.get(row.variant.parent)
    if not parent:
        return figure(row.mean) if row.spread is None else f"{figure(row.mean)} ± {figure(row.spread / 2)}"
    less = times(parent.mean_of("bytes_sent"), row.mean_of("bytes_sent"))
    return f"{figure(row.mean)}, {figures.verdict(row, parent)}, {less}"


def summary(workloads, variants, seeds, records):
    """One line an optimizer: its mean, half the spread of a dense one, and what else is judged."""
    found = {workload.name: figures.rows(workload, variants, seeds, records) for workload in workloads}
    header = ["optimizer", *(f"{workload.name}: {NAMES[workload.quality]}" for workload in workloads)]
    lines = [[variant.name, *(summary_cell(rows[variant.name], rows) for rows in found.values())] for variant in variants]
    return markdown(header, lines, names=1)


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


def other_ranks(workload, seeds, rows, records):
    for ranks in workload.other_ranks:
        yield f"On {ranks} ranks, which share the same samples a step; the dense parents on {settings.RANKS}:\n"
        found = figures.rows(workload, settings.MAIN, seeds or settings.SEEDS, records, ranks)
        yield optimizer_table({name: found[name] if found[name].variant.parent else rows[name] for name in found})


def of_workload(workload, variants, seeds, stress, records):
    """All that is told of one workload."""
    rows = figures.rows(workload, variants, seeds, records)
    known = [record for row in rows.values() for record in row.records if record]
    steps = known[0]["steps"] if known else workload.steps
    title = f"### {workload.about}: {NAMES[workload.quality]}\n"
    about = f"{steps} steps of {workload.samples_a_step} samples on {settings.RANKS} ranks.\n"
    parts = [title, about, optimizer_table(rows)]
    if stress:
        parts += [*other_ranks(workload, seeds, rows, records), "Where it is harder, seed 1:\n"]
        parts += [stress_table(workload, rows, records)]
    return "\n".join(parts)
