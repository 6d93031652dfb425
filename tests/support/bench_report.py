# SPDX-License-Identifier: Apache-2.0
"""What the reports of the long benchmarks have in common: tables in Markdown, the look of pictures."""


def markdown(header, rows, names=2):
    """The first columns are names, the others figures."""
    lines = [header, ["---"] * names + ["---:"] * (len(header) - names), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def pyplot(name):
    """matplotlib, set up such that text stays text, and the same figures give the same file."""
    import matplotlib  # only who draws needs it

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"})
    from matplotlib import pyplot as plot

    return plot


def save(figure, file):
    figure.savefig(file, metadata={"Date": None}, facecolor="white")
