# SPDX-License-Identifier: Apache-2.0
"""Cells: the runs that a long benchmark is made of. A cell's result is kept in a folder of its own, so that a benchmark that
was interrupted goes on where it was. Benchmarks add what their cells are, and what their results say."""

import hashlib
import json
import os
import pathlib
import shlex
import subprocess

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
RESULT = "result.json"


class Failure(Exception):
    """A cell that could not be run. The text says why, and what to do."""


def kept(folder, identity):
    """The result kept in this folder, where all that `identity` names is in it as well; else None."""
    result = read(folder)
    return result if result and all(result.get(key) == value for key, value in identity.items()) else None


def read(folder):
    """The result kept in this folder, whatever run it is of; None where there is none."""
    file = folder / RESULT
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def keep(folder, result):
    write_whole(folder / RESULT, json.dumps(result, indent=1) + "\n")


def run(words, log, started=lambda process: None):
    """Runs a command, which ends with the benchmark, however that ends. All that it says is in the log."""
    line = ["setpriv", "--pdeathsig", "TERM", *map(str, words)]
    with open(log, "w", encoding="utf-8") as file:
        print(shlex.join(line), file=file, flush=True)
        with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT) as process:
            started(process)
            try:
                status = process.wait()
            except KeyboardInterrupt:
                process.kill()
                raise
    if status != 0:
        raise Failure(f"{log.parent.name} ended with status {status}; the end of {log}:\n{tail(log)}")


def metrics(folder):
    """The lines of the log that `onebit train` leaves for programs."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def fingerprint(command):
    """Of the command and its plugins."""
    files = [command, *sorted(command.parent.parent.glob("lib/**/*.so"))]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def tail(file, lines=15):
    return "\n".join(file.read_text(errors="replace").splitlines()[-lines:])


def write_whole(file, text):
    temporary = file.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, file)
