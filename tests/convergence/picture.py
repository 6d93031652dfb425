# SPDX-License-Identifier: Apache-2.0
"""The benchmark's picture: quality against steps, and against bytes sent, for every workload. Drawn with matplotlib."""

import bench_report
import figures
from cells import EVALUATION
from figures import mean
from tables import NAMES

COLOURS = {"adam": "#4c72b0", "onebit_adam": "#dd8452", "zeroone_adam": "#55a868", "lamb": "#8172b3", "onebit_lamb": "#c44e52"}
STEP, SENT = EVALUATION.index("step"), EVALUATION.index("bytes_sent")
FROM = 0.2  # the share of the steps from which on all curves have to be seen whole


def curve(row, place):
    """[(step, MB sent, mean, least, most)] over the seeds, up to where one of them has no finite figure any more."""
    runs = [record["evaluations"] for record in row.records if record]
    points = []
    for together in zip(*runs):
        values = [evaluation[place] for evaluation in together]
        if None in values:
            break
        sent = mean([evaluation[SENT] for evaluation in together]) / 1e6
        points.append((together[0][STEP], sent, mean(values), min(values), max(values)))
    return points


def style(variant):
    line = "--" if not variant.parent else ":" if variant.form == "paper" else "-"
    return {"color": COLOURS[variant.optimizer], "linestyle": line, "linewidth": 1.2}


def draw_row(axes, curves):
    for variant, points in curves:
        steps, sent, means, least, most = zip(*points)
        for axis, places in zip(axes, (steps, sent)):
            axis.plot(places, means, label=variant.name, **style(variant))
            axis.fill_between(places, least, most, color=COLOURS[variant.optimizer], alpha=0.15, linewidth=0)


def limits(workload, curves):
    """Of the figures: what is worse than all that learns has long left behind is cut off."""
    points = [point for variant, points in curves if variant.form != "paper" for point in points]
    late = [value for step, _, *values in points if step >= FROM * workload.steps for value in values]
    margin = 0.05 * (max(late) - min(late)) if late else 0
    return (min(late) - margin, max(late) + margin) if margin else None


def shown(workload, variants, seeds, records):
    rows = figures.rows(workload, variants, seeds, records)
    curves = [(row.variant, curve(row, EVALUATION.index(workload.quality))) for row in rows.values()]
    return [(variant, points) for variant, points in curves if points and variant.form != "bf16"]  # which lie on the others


def label(axes, workload, curves):
    within = limits(workload, curves)
    for axis, name in zip(axes, ("steps", "MB sent a rank")):
        axis.set_xlabel(name, fontsize=8)
        axis.set_title(workload.about, fontsize=9)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        if within:
            axis.set_ylim(*within)
    axes[0].set_ylabel(NAMES[workload.quality], fontsize=8)
    axes[1].set_xscale("log")


def draw(workloads, variants, seeds, records, file):
    pyplot = bench_report.pyplot("convergence")
    figure, grid = pyplot.subplots(len(workloads), 2, figsize=(9, 1.2 + 3 * len(workloads)), squeeze=False)
    handles = {}
    for axes, workload in zip(grid, workloads):
        curves = shown(workload, variants, seeds, records)
        draw_row(axes, curves)
        label(axes, workload, curves)
        handles.update(zip(*reversed(axes[0].get_legend_handles_labels())))
    figure.legend(list(handles.values()), list(handles), loc="upper center", ncol=3, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.8 / (1.2 + 3 * len(workloads))))
    bench_report.save(figure, file)
    pyplot.close(figure)
