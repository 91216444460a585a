"""The `corral` command: error handling around the verbs, and the fast path of `ps`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from corral_tui.cli.errors import guarded


def main(arguments: Sequence[str] | None = None) -> int:
    """Console entry: run one verb, and return what the process exits with. Never raises."""
    return guarded(list(sys.argv[1:] if arguments is None else arguments), _dispatch)


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["ps"] and "_CORRAL_COMPLETE" not in os.environ:
        # `ps` is run in loops and scripts: its usual forms are parsed without loading click (25 ms).
        from corral_tui.cli.job_list import list_jobs, plain_options

        options = plain_options(words[1:])
        if options is not None:
            return list_jobs(options)
    from corral_tui.cli.group import invoke

    return invoke(words)


if __name__ == "__main__":
    sys.exit(main())
