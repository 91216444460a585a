"""What `corral ps` does, without click: it is on the path that must be fast."""

from __future__ import annotations

import sys
from typing import NamedTuple

from corral.service.protocol import Jobs, ListJobs
from corral.values.jobs import ENDED_STATES, UNENDED_STATES, Job
from corral.values.wire import to_wire
from corral_tui import numbers
from corral_tui.cli.columns import lay_out
from corral_tui.cli.guard import complain
from corral_tui.cli.plain import say, visible, width_of

FLAGS = {
    "-a": "everything",
    "--all": "everything",
    "-q": "only_ids",
    "--quiet": "only_ids",
    "--json": "as_json",
}
CHOICES = {
    "--state": ("states", ("queued", "running", "paused", "stopping", *sorted(ENDED_STATES))),
    "--health": ("healths", ("active", "waiting", "stuck")),
}
"""The options of `ps`, for `plain_options` and for click alike."""

_HEADER = ("ID", "NAME", "STATE", "HEALTH", "EXIT", "CPU%", "MEM", "TIME", "COMMAND")
_NUMBERS = frozenset({0, 4, 5, 6, 7})


class ListOptions(NamedTuple):
    """What to list and how."""

    ids: tuple[str, ...] = ()
    everything: bool = False
    only_ids: bool = False
    as_json: bool = False
    states: tuple[str, ...] = ()
    healths: tuple[str, ...] = ()

    @property
    def wants_ended(self) -> bool:
        """Also by asking for a state that only ended jobs have."""
        return self.everything or not UNENDED_STATES.issuperset(self.states)


def plain_options(words: list[str]) -> ListOptions | None:
    """The options that `words` write, None where they need the whole parser: bundled, abbreviated, wrong."""
    flags: set[str] = set()
    chosen: dict[str, list[str]] = {"states": [], "healths": []}
    ids: list[str] = []
    waiting = iter(words)
    for word in waiting:
        if word in FLAGS:
            flags.add(FLAGS[word])
        elif word in CHOICES:
            name, allowed = CHOICES[word]
            value = next(waiting, "")
            if value not in allowed:
                return None
            chosen[name].append(value)
        elif word.startswith("-") or not word:
            return None
        else:
            ids.append(to_wire(word))
    return ListOptions(
        ids=tuple(ids),
        everything="everything" in flags,
        only_ids="only_ids" in flags,
        as_json="as_json" in flags,
        states=tuple(chosen["states"]),
        healths=tuple(chosen["healths"]),
    )


def list_jobs(options: ListOptions) -> int:
    """Print the jobs asked for; 1 where an id is unknown."""
    from corral_tui.cli import reach

    with reach.reader() as caller:
        found = caller.call(ListJobs(ids=options.ids, all=options.wants_ended))
    _print(_selected(found, options), options)
    for unknown in found.unknown:
        complain(unknown_job(unknown))
    return 1 if found.unknown else 0


def unknown_job(wanted: str) -> str:
    """The complaint about an id or name that no job has."""
    named = "" if wanted.isdigit() or wanted == "@" else "named "
    return f"no job {named}{wanted}; corral ps -a lists all"


def _selected(found: Jobs, options: ListOptions) -> list[Job]:
    return [
        job
        for job in found.jobs
        if (not options.states or job.state in options.states)
        and (not options.healths or job.health in options.healths)
    ]


def _print(jobs: list[Job], options: ListOptions) -> None:
    if options.as_json:
        from corral_tui.cli.jsontext import print_json

        print_json(jobs)
    elif options.only_ids:
        for job in jobs:
            say(job.id)
    else:
        lines = lay_out(_HEADER, [_row(job) for job in jobs], _NUMBERS, width_of(sys.stdout))
        sys.stdout.write("\n".join(lines) + "\n")


def _row(job: Job) -> tuple[str, ...]:
    is_alive = not job.is_ended
    return (
        job.id,
        visible(job.title),
        job.state,
        job.health or "-",
        "-" if job.exit_status is None else str(job.exit_status),
        numbers.cpu(job.cpu_percent) if is_alive else "-",
        numbers.size(job.memory_bytes) if is_alive else "-",
        numbers.duration(job.elapsed),
        visible(job.command),
    )
