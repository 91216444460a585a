"""The `corral` command: error handling around the verbs, and the fast paths of `ps` and of the dashboard."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from corral_tui.cli.completion_variable import COMPLETION_VARIABLE
from corral_tui.cli.support.errors import guarded
from corral_tui.lazy import load


def main(arguments: Sequence[str] | None = None) -> int:
    """Console entry: run one verb, and return what the process exits with. Never raises."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    status = guarded(words, _dispatch)
    if arguments is None and words[:1] == ["ps"]:
        # All is printed. To take the interpreter down in order would be a sixth of its time.
        os._exit(status)
    return status


def _dispatch(words: list[str]) -> int:
    status: int
    if words[:1] == ["ps"] and COMPLETION_VARIABLE not in os.environ:
        # `ps` is run in loops and scripts: its usual forms are parsed without loading click (25 ms).
        options = load("corral_tui.cli.jobs.ps_list:plain_options")(words[1:])
        if options is not None:
            status = load("corral_tui.cli.jobs.ps_list:list_jobs")(options)
            return status
    if not words and COMPLETION_VARIABLE not in os.environ:
        status = load("corral_tui.cli.dashboard:open_dashboard")()
        return status
    status = load("corral_tui.cli.verbs:invoke")(words)
    return status


if __name__ == "__main__":
    sys.exit(main())
