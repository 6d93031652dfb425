# SPDX-License-Identifier: Apache-2.0
"""The benchmark's picture: where the time of a step goes, for every network and configuration. Drawn with matplotlib."""

import bench_report
from figures import main_step
from tables import RATE_NAMES, groups

PARTS = {"compute": ("computing", "#4c72b0"), "codec": ("codec and optimizer", "#dd8452"), "waiting": ("waiting", "#c8c8c8")}


def draw_group(axes, group, title):
    steps = {name: main_step(result) for name, result in group.items()}
    for row, (name, step) in enumerate(steps.items()):
        left = 0.0
        for part, (_, colour) in PARTS.items():
            width = getattr(step, part)
            axes.barh(row, width, left=left, color=colour, height=0.7)
            left += width
        gain = steps["adam fp16"].seconds / step.seconds
        told = f"{step.seconds:.2f} s" if name == "adam fp16" else f"{step.seconds:.2f} s, {gain:.1f}x"
        axes.annotate(told, (left, row), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(range(len(steps)), steps)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.45 * max(step.seconds for step in steps.values()))
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def draw(results, file):
    pyplot = bench_report.pyplot("slownet")
    found = groups(results)
    rates, hosts = list(dict.fromkeys(rate for rate, _ in found)), sorted({number for _, number in found})
    figure, grid = pyplot.subplots(len(hosts), len(rates), figsize=(3.6 * len(rates), 1.3 + 1.4 * len(hosts)), squeeze=False)
    for (rate, number), group in found.items():
        draw_group(grid[hosts.index(number)][rates.index(rate)], group, f"{RATE_NAMES[rate]}, {number} hosts")
    for axes in grid[-1]:
        axes.set_xlabel("seconds a step", fontsize=8)
    for axes in grid[:, 1:].flat:
        axes.set_yticklabels([])
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=colour) for _, colour in PARTS.values()]
    figure.legend(handles, [name for name, _ in PARTS.values()], loc="upper center", ncol=3, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.93))
    bench_report.save(figure, file)
