"""Asks a question on stdin, as installers do, and waits for an answer that nobody gives."""

from __future__ import annotations

import sys


def main() -> int:
    """Returns 0 where the answer is yes, else 1."""
    print("3 files are newer than the backup.")  # noqa: T201
    print("Overwrite them? [y/N] ", end="", flush=True)  # noqa: T201
    answer = sys.stdin.readline().strip()
    print(f"\nThe answer was {answer!r}.")  # noqa: T201
    return 0 if answer.lower() in ("y", "yes") else 1


if __name__ == "__main__":
    sys.exit(main())
