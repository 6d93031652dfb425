#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of convergence: whether the compressed optimizers learn as their dense parents do. `./dev bench convergence`
builds and runs it, which takes hours.

Cells are run and kept under --out; then tables, a picture and one small file of results are made of all that is kept there.
"""

import argparse
import json
import os
import pathlib
import shutil
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "support"))  # what all benchmarks share

import bench_cells
import cells
import picture
import settings
import tables
from bench_cells import SOURCE
from progress import run_all

DESCRIPTION = "compressed optimizers against their dense parents; --quick is kept in build/convergence-quick"
HERE = pathlib.Path(__file__).resolve().parent


def parser():
    made = argparse.ArgumentParser(prog="./dev bench convergence", description=DESCRIPTION)
    add = made.add_argument
    add("--quick", action="store_true", help="one seed of the main optimizers on a fifth of the images: to see that it works")
    add("--only", metavar="PATTERN", default="*", help="runs only cells whose names match, such as 'gpt-*-seed-1'")
    add("--seeds", type=int, help=f"of every optimizer; {settings.SEEDS}, of some {settings.PAIRED_SEEDS}, when left out")
    add("--jobs", type=int, default=1, help="cells at a time; %(default)s when left out")
    add("--rebuilt", action="store_true", help="runs stored cells again where onebit or a plugin was built anew since")
    add("--list", action="store_true", help="tells the cells, and which are stored; runs nothing")
    add("--report", action="store_true", help="tables and picture of what is stored; runs nothing")
    add("--results", type=pathlib.Path, metavar="FILE", help="with --report: of this file, as tests/convergence/results.json")
    add("--publish", action="store_true", help="puts results.json and convergence.svg into tests/convergence as well")
    add("--out", type=pathlib.Path, help="folder for all figures; build/convergence when left out")
    add("--onebit", type=pathlib.Path, default=SOURCE / "build/release/bin/onebit", help="the command")
    return made


def arguments():
    options = parser().parse_args()
    if options.jobs < 1 or (options.seeds is not None and options.seeds < 1):
        parser().error("--seeds and --jobs are 1 or more")
    if options.results and not options.report:
        parser().error("--results goes with --report")
    if options.quick and options.publish:
        parser().error("--publish is for whole runs, not for --quick")
    if options.quick:
        options.seeds = 1
    options.out = (options.out or SOURCE / ("build/convergence-quick" if options.quick else "build/convergence")).resolve()
    return options


class Plan:
    """What is asked for."""

    def __init__(self, options):
        self.workloads = (settings.QUICK,) if options.quick else tuple(settings.WORKLOADS.values())
        self.variants = settings.MAIN if options.quick else settings.VARIANTS
        self.seeds = options.seeds
        self.stress = not options.quick
        self.cells = cells.planned(self.workloads, self.variants, self.seeds, self.stress)


def stored(plan, out):
    """Records by their cells' names."""
    found = {cell.name: bench_cells.read(out / cell.name) for cell in plan.cells}
    return {name: record for name, record in found.items() if record}


def committed(file):
    try:
        return {record["cell"]: record for record in json.loads(file.read_text(encoding="utf-8"))}
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"bench: {file} does not hold results: {error}")


def results_text(records):
    """One line a record, so that a change of one cell is a change of one line."""
    lines = [json.dumps(record, separators=(",", ":"), sort_keys=True) for _, record in sorted(records.items())]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def note(plan, records):
    """What of the stored cells is not as this source would run it, and what is missing."""
    keys = {cell.name: cell.key() for cell in plan.cells}
    other = sorted(name for name, record in records.items() if record["key"] != keys.get(name, record["key"]))
    missing = len(keys) - len([name for name in keys if name in records])
    parts = [f"{missing} of {len(keys)} cells are not there yet.\n"] if missing else []
    parts += [f"Run with other settings than this source has: {', '.join(other)}.\n"] if other else []
    return parts


def with_records(plan, records):
    """The workloads of which there is anything to tell."""
    return [workload for workload in plan.workloads if any(name.startswith(f"{workload.name}-") for name in records)]


def report(plan, records):
    told = with_records(plan, records) or plan.workloads
    parts = [tables.of_workload(workload, plan.variants, plan.seeds, plan.stress, records) for workload in told]
    brief = tables.summary(told, plan.variants, plan.seeds, records)
    return "\n".join([tables.LEGEND, brief, *parts, *note(plan, records)])


def write_report(options, plan, records):
    text = report(plan, records)
    options.out.mkdir(parents=True, exist_ok=True)
    bench_cells.write_whole(options.out / "tables.md", text)
    bench_cells.write_whole(options.out / "results.json", results_text(records))
    picture.draw(with_records(plan, records) or plan.workloads, plan.variants, plan.seeds, records, options.out / "convergence.svg")
    if options.publish:
        for name in ("results.json", "convergence.svg"):
            shutil.copyfile(options.out / name, HERE / name)
    print(f"\n{text}\n==> {options.out}/tables.md, results.json, convergence.svg")


def runner_of(options):
    if not os.access(options.onebit, os.X_OK):
        sys.exit(f"bench: there is no {options.onebit}; build it with ./dev build, or name another by --onebit")
    return cells.Runner(options.onebit.resolve(), options.out, options.rebuilt)


def list_cells(options, plan):
    """Where there is no command, none of its versions can differ."""
    runner = runner_of(options) if os.access(options.onebit, os.X_OK) else None
    for cell in plan.cells:
        record = bench_cells.read(options.out / cell.name)
        same = record and (runner.kept(cell) if runner else record["key"] == cell.key())
        state = "-" if not record else "stored, of other settings" if not same else "stored"
        if state == "stored" and runner and record["built"] != runner.built:
            state = "stored, of another build"
        print(f"{cell.name:72} {state}")


def main():
    options = arguments()
    plan = Plan(options)
    try:
        if options.list:
            return list_cells(options, plan)
        failures = [] if options.report else run_all(runner_of(options), plan.cells, options.only, options.jobs)
    except bench_cells.Failure as failure:
        sys.exit(f"bench: {failure}")
    except KeyboardInterrupt:
        sys.exit("bench: interrupted; what is done is kept, and the same command goes on from there")
    write_report(options, plan, committed(options.results) if options.results else stored(plan, options.out))
    if failures:
        sys.exit("\n".join(f"bench: {failure}" for failure in failures))


if __name__ == "__main__":
    main()
