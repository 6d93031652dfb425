# SPDX-License-Identifier: Apache-2.0
"""Runs a suite, or says which package it lacks.

run.py session_test|torch_test|examples_test
"""

import importlib.util
import sys
import unittest

NEEDS = {"session_test": ["numpy"], "torch_test": ["numpy", "torch"], "examples_test": ["numpy", "torch"]}

suite = sys.argv[1]
missing = [package for package in NEEDS[suite] if importlib.util.find_spec(package) is None]
if missing:
    print(f"SKIPPED: {sys.executable} has no {' and no '.join(missing)} (Debian: apt-get install python3-{missing[-1]})")
    sys.exit(0)
unittest.main(module=suite, argv=[suite])
