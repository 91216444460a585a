"""Jobs and programs that the shell offers for the word that is being typed. Asks no daemon: the journal names the jobs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from shlex import quote
from typing import Any

from click.shell_completion import CompletionItem

from corral.decide.reader import JournalReader
from corral.values.errors import CorralError
from corral.values.jobs import Job
from corral_tui.cli.home import chosen_home
from corral_tui.cli.terminal_output import visible
from corral_tui.cli.usable_jobs import Usable

_MOST_ENDED = 200
_COMMAND_LETTERS = 60


def jobs(usable: Usable, options: Mapping[str, Any], incomplete: str) -> list[CompletionItem]:
    """Numbers, and the names that mean just these jobs; what has not ended first, the newest of each first."""
    return [
        CompletionItem(written, help=told)
        for written, told in _ways_to_write(known_jobs(), lambda job: usable(job, options))
        if written.startswith(incomplete)
    ]


def known_jobs() -> list[Job]:
    """Whatever is wrong must not disturb the line that is being typed: then there are none."""
    try:
        with closing(JournalReader.open_at_once(chosen_home())) as journal:
            return [*reversed(journal.unended_jobs()), *reversed(journal.ended(_MOST_ENDED))]
    except (CorralError, OSError):
        return []


def _ways_to_write(found: Iterable[Job], is_usable: Callable[[Job], bool]) -> Iterator[tuple[str, str]]:
    """A name means the one job so called that has not ended, else the newest; of several that run it means none."""
    found = list(found)
    running = Counter(job.name for job in found if not job.is_ended)
    met: set[str | None] = {None}
    for job in found:
        if is_usable(job):
            yield job.id, visible(f"{job.state}: {job.command}"[:_COMMAND_LETTERS])
            if job.name is not None and job.name not in met and running[job.name] <= 1:
                yield job.name, f"job {job.id}, {job.state}"
        met.add(job.name)


def programs(incomplete: str) -> list[CompletionItem]:
    """Programs on PATH, as the first word of a command; of a path, and where nothing fits, files."""
    names = set() if "/" in incomplete else set(_on_path(incomplete))
    return [CompletionItem(name) for name in sorted(names)] or files(incomplete)


def _on_path(beginning: str) -> Iterator[str]:
    for folder in os.get_exec_path():
        with suppress(OSError), os.scandir(folder or os.curdir) as entries:
            for entry in entries:
                # One with a letter that the shell would act on could not be run as it is offered.
                if (
                    entry.name.startswith(beginning)
                    and quote(entry.name) == entry.name
                    and _is_program(entry)
                ):
                    yield entry.name


def _is_program(entry: os.DirEntry[str]) -> bool:
    return entry.is_file() and os.access(entry.path, os.X_OK)


def files(incomplete: str) -> list[CompletionItem]:
    """Of which the shell knows more."""
    return [CompletionItem(incomplete, type="file")]
