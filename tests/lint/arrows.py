#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether the rooms keep to the table beside this file, rooms.toml: who includes whom, how large a room is, and whether it has
a README. Prints each fault with its file and line, and exits with 1 where there is one.

    arrows.py [SOURCE_FOLDER [TABLE]]
"""

import os
import pathlib
import re
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
PARTS = ("core", "host", "plugins", "sdk", "tests")
SOURCES = {".h", ".hpp", ".c", ".cpp", ".cu"}
# What the compilers look in, besides the folder of the file that includes.
INCLUDE_FOLDERS = ("sdk/include", "core/include", "host/include", "core", "host", "tests", ".")
STAND_INS = "tests/cuda_on_cpu/include"  # for CUDA's own headers, where our code asks for them with ""
MOST_NAMES, MOST_LINES, MOST_README_LINES = 25, 3000, 25
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


class Rooms:
    """The table: the room of each file, and the rooms that each room may include."""

    def __init__(self, table):
        self.may = {name: room.get("includes", []) for name, room in table.items()}
        self.whole = {name for name, room in table.items() if room.get("whole")}
        self.public = {file: name for name, room in table.items() for file in room.get("public", [])}

    def of(self, file):
        folder = str(file.parent)
        above = next((str(parent) for parent in file.parents if str(parent) in self.whole), None)
        return self.public.get(str(file)) or (folder if folder in self.may else above)

    def faults(self, source):
        """Of the table itself: rooms and headers that are not there, and cycles."""
        for name, others in self.may.items():
            if not (source / name).is_dir():
                yield f"the room {name} is no folder"
            for other in others:
                if other not in self.may:
                    yield f"{name} may include {other}, which is no room of the table"
        for file in self.public:
            if not (source / file).is_file():
                yield f"the public header {file} is not there"
        yield from self.cycle()

    def cycle(self):
        done, path = set(), []

        def visit(name):
            if name in path:
                return path[path.index(name) :] + [name]
            if name in done:
                return None
            path.append(name)
            found = next(filter(None, map(visit, self.may.get(name, []))), None)
            path.pop()
            done.add(name)
            return found

        found = next(filter(None, map(visit, self.may)), None)
        if found:
            yield "the arrows make a cycle: " + " -> ".join(found)


def sources_of(source):
    """Relative paths. What was kept of earlier releases includes nothing of ours."""
    found = (file.relative_to(source) for part in PARTS for file in sorted((source / part).rglob("*")) if file.suffix in SOURCES)
    return [file for file in found if not re.search(r"/v\d+\.\d+/", str(file))]


def included(source, file, quote, name):
    """The file of this tree that is included, or None."""
    folders = [str(file.parent), STAND_INS] if quote == '"' else []
    for folder in (*folders, *INCLUDE_FOLDERS):
        if (source / folder / name).is_file():
            return pathlib.Path(os.path.normpath(os.path.join(folder, name)))
    return None


def check_file(source, rooms, file, used):
    own = rooms.of(file)
    if own is None:
        yield f"{file}:1: the folder {file.parent} is no room of the table: add it, with the rooms that it may include"
        return
    for number, line in enumerate((source / file).read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        other_file = included(source, file, *match.groups())
        if other_file is None:
            if match[1] == '"':
                yield f'{file}:{number}: "{match[2]}" is no file of this tree; what is not ours is included with <>'
            continue
        other = rooms.of(other_file)
        used.add((own, other))
        if other not in (own, None) and other not in rooms.may[own]:
            yield f"{file}:{number}: {own} may not include {other} ({match[2]})"


def check_sizes(source, rooms, files):
    for name in rooms.may:
        own = [file for file in files if rooms.of(file) == name]
        names = {file.stem for file in own}
        lines = sum(len((source / file).read_text().splitlines()) for file in own)
        if len(names) > MOST_NAMES:
            yield f"{name}: {len(names)} names, {MOST_NAMES} at most"
        if lines > MOST_LINES:
            yield f"{name}: {lines} lines, {MOST_LINES} at most"


def check_readmes(source, rooms):
    """Tests mirror the rooms, and the conformance suites are one text: they have one README for all."""
    for name in rooms.may:
        if name.startswith(("tests/", "sdk/include/onebit/conformance/", "sdk/templates/", "sdk/examples/")):
            continue
        readme = source / name / "README.md"
        if not readme.is_file():
            yield f"{name}: has no README.md"
        elif (lines := len(readme.read_text().splitlines())) > MOST_README_LINES:
            yield f"{name}/README.md: {lines} lines, {MOST_README_LINES} at most"


def faults(source, table):
    rooms, files, used = Rooms(table), sources_of(source), set()
    yield from rooms.faults(source)
    for file in files:
        yield from check_file(source, rooms, file, used)
    for name, others in rooms.may.items():
        for other in others:
            if (name, other) not in used:
                yield f"{name} may include {other}, and does not: take the arrow out of the table"
    yield from check_sizes(source, rooms, files)
    yield from check_readmes(source, rooms)


def main(arguments):
    source = pathlib.Path(arguments[0] if arguments else HERE.parent.parent).resolve()
    table = pathlib.Path(arguments[1]) if len(arguments) > 1 else HERE / "rooms.toml"
    found = list(faults(source, tomllib.loads(table.read_text())))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
