# SPDX-License-Identifier: Apache-2.0
"""``python -m onebit``: the command ``onebit`` of this package."""

import os
import sys

from ._library import folder


def main() -> None:
    command = folder() / "bin" / "onebit"
    try:
        os.execv(command, ["onebit", *sys.argv[1:]])
    except OSError as e:
        sys.exit(f"onebit: {command} can't be run: {e}")


if __name__ == "__main__":
    main()
