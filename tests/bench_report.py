"""What the reports of the long benchmarks have in common: tables in Markdown, the look of pictures, the machine."""

import os
import platform


def markdown(header, rows, names=2):
    """The first columns are names, the others figures."""
    lines = [header, ["---"] * names + ["---:"] * (len(header) - names), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def machine(sharers):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    processor = models[0] if models else platform.machine()
    return f"{os.cpu_count()} processors ({processor}), which all {sharers} share; Linux {platform.release()}"


def pyplot(name):
    """matplotlib, set up such that text stays text, and the same figures give the same file."""
    import matplotlib  # only who draws needs it

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"})
    from matplotlib import pyplot as plot

    return plot


def save(figure, file):
    figure.savefig(file, metadata={"Date": None}, facecolor="white")
