# SPDX-License-Identifier: Apache-2.0
"""Runs the cells that are not stored, one or several at a time, and tells how far it is."""

import concurrent.futures
import fnmatch
import threading
import time

from bench_cells import Failure


class Progress:
    def __init__(self, count):
        self.count, self.done = count, 0
        self.began = time.monotonic()
        self.lock = threading.Lock()

    def tell(self, text):
        with self.lock:
            print(f"==> {text}", flush=True)

    def finished(self, cell, outcome, seconds):
        with self.lock:
            self.done += 1
            left = (time.monotonic() - self.began) / self.done * (self.count - self.done)
        self.tell(f"{self.done} of {self.count}: {cell.name}: {outcome}, {seconds:.0f} s; about {left / 60:.0f} minutes left")


def outcome_of(record):
    final = record["final"]
    said = [f"{name.replace('_', ' ')} {final[name]:.4f}" for name in ("test_loss", "test_accuracy") if final[name] is not None]
    skipped = [f"{record['skipped_steps']} steps skipped"] if record["skipped_steps"] else []
    return ", ".join((said or ["no finite test loss"]) + skipped)


def run_one(runner, cell, progress):
    """The reason why it could not be run, or None."""
    if runner.stopped:
        return None
    began = time.monotonic()
    try:
        outcome, failure = outcome_of(runner.run(cell)), None
    except Failure as found:
        if runner.stopped:
            return None
        outcome, failure = "FAILED", found
    progress.finished(cell, outcome, time.monotonic() - began)
    return failure


def run_all(runner, cells, pattern, jobs):
    """Failures of those that could not be run: the others are run all the same."""
    wanted = [cell for cell in cells if fnmatch.fnmatch(cell.name, pattern)]
    if not wanted:
        raise Failure(f"no cell's name matches '{pattern}'; --list tells them")
    missing = [cell for cell in wanted if not runner.kept(cell)]
    progress = Progress(len(missing))
    progress.tell(f"{len(wanted)} cells, of which {len(wanted) - len(missing)} are stored in {runner.out}")
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(run_one, runner, cell, progress) for cell in missing]
        try:
            return [failure for future in futures if (failure := future.result())]
        except KeyboardInterrupt:
            runner.stop()
            raise
