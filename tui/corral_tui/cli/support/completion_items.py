"""Shell completion of jobs, programs and files. Reads jobs from the journal, without asking a daemon."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from shlex import quote
from typing import Any

from click.shell_completion import CompletionItem

from corral.journal.reader import JournalReader
from corral.model.errors import CorralError
from corral.model.job import Job
from corral_tui.cli.support.home import chosen_home
from corral_tui.cli.support.usable_jobs import Usable
from corral_tui.text.terminal_output import visible

_MAX_ENDED = 200
_COMMAND_LENGTH = 60


def jobs(usable: Usable, options: Mapping[str, Any], incomplete: str) -> list[CompletionItem]:
    """Numbers and unambiguous names of usable jobs; unended jobs first, each newest first."""
    return [
        CompletionItem(word, help=help_text)
        for word, help_text in _ids(known_jobs(), lambda job: usable(job, options))
        if word.startswith(incomplete)
    ]


def known_jobs() -> list[Job]:
    """Unended and recently ended jobs; none on any error, which must not disturb the line being typed."""
    try:
        with closing(JournalReader.open_at_once(chosen_home())) as journal:
            return [*reversed(journal.unended_jobs()), *reversed(journal.ended(_MAX_ENDED))]
    except (CorralError, OSError):
        return []


def _ids(found: Iterable[Job], is_usable: Callable[[Job], bool]) -> Iterator[tuple[str, str]]:
    """A name means the only unended job of that name, else the newest; if several are unended it is ambiguous."""
    found = list(found)
    running = Counter(job.name for job in found if not job.is_ended)
    met: set[str | None] = {None}
    for job in found:
        if is_usable(job):
            yield job.id, visible(f"{job.state}: {job.command}"[:_COMMAND_LENGTH])
            if job.name is not None and job.name not in met and running[job.name] <= 1:
                yield job.name, f"job {job.id}, {job.state}"
        met.add(job.name)


def programs(incomplete: str) -> list[CompletionItem]:
    """Programs on PATH, for the first word of a command; files if it is a path or nothing matches."""
    names = set() if "/" in incomplete else set(_on_path(incomplete))
    return [CompletionItem(name) for name in sorted(names)] or files(incomplete)


def _on_path(beginning: str) -> Iterator[str]:
    for folder in os.get_exec_path():
        with suppress(OSError), os.scandir(folder or os.curdir) as entries:
            for entry in entries:
                # A name with shell metacharacters could not be run as completed.
                if (
                    entry.name.startswith(beginning)
                    and quote(entry.name) == entry.name
                    and _is_program(entry)
                ):
                    yield entry.name


def _is_program(entry: os.DirEntry[str]) -> bool:
    return entry.is_file() and os.access(entry.path, os.X_OK)


def files(incomplete: str) -> list[CompletionItem]:
    """Let the shell complete files."""
    return [CompletionItem(incomplete, type="file")]
