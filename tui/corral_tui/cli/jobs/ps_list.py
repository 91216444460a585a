"""`corral ps` without click, which would take most of its time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, repeat

from corral.client.fast_list import FastList, fast_list
from corral.model.wire import to_wire
from corral_tui.cli.support.errors import complain
from corral_tui.cli.support.home import chosen_home
from corral_tui.text import numbers
from corral_tui.text.columns import cells, column_widths, cut, lay_out
from corral_tui.text.phrases import leftovers_line, reason_text
from corral_tui.text.terminal_output import is_terminal, note, put_json, safe_json, say, visible, width_of

TYPE_CHECKING = False  # typing, which has it, takes longer to load than the rest of `ps`
if TYPE_CHECKING:
    from typing import Any

    from corral.protocol.requests import Jobs

UNENDED = ("queued", "running", "paused", "stopping")
ENDED = ("succeeded", "failed", "stopped", "timed_out", "lost")
"""Copied from `corral.model.job`, which loads msgspec; a test compares them."""

FLAGS = {
    "-a": "everything",
    "--all": "everything",
    "-q": "only_ids",
    "--quiet": "only_ids",
    "--json": "as_json",
}
CHOICES = {
    "--state": ("states", (*UNENDED, *ENDED)),
    "--health": ("healths", ("active", "waiting", "stuck")),
    "--sort": ("sorts", ("id", "health", "name", "cpu", "memory", "time")),
}
"""The options of `ps`, for `plain_options` and for click."""

_HEADER = ("ID", "NAME", "STATE", "HEALTH", "EXIT", "CPU%", "MEM", "TIME", "COMMAND")
_NUMBERS = frozenset({0, 4, 5, 6, 7})
_HEALTHS = ("stuck", "waiting", "active", None)
"""In the order of `--sort health`."""
_DASH = "— "
_INDENT = "    "


class ListOptions:
    """What to list and how."""

    def __init__(
        self,
        ids: tuple[str, ...] = (),
        everything: bool = False,
        only_ids: bool = False,
        as_json: bool = False,
        states: tuple[Any, ...] = (),
        healths: tuple[str, ...] = (),
        sorts: tuple[str, ...] = (),
    ) -> None:
        self.ids = ids
        self.everything = everything
        self.only_ids = only_ids
        self.as_json = as_json
        self.states = states
        self.healths = healths
        self.sorts = sorts
        """The last one applies."""

    @property
    def is_plain(self) -> bool:
        """Whether nothing in particular was asked for."""
        return not any(vars(self).values())

    @property
    def wants_ended(self) -> bool:
        """Also if a state is requested that only ended jobs have."""
        return self.everything or any(state in ENDED for state in self.states)


def plain_options(words: list[str]) -> ListOptions | None:
    """The options in `words`; None if they need click's parser: bundled, abbreviated, invalid."""
    flags: set[str] = set()
    chosen: dict[str, list[str]] = {name: [] for name, _ in CHOICES.values()}
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
        sorts=tuple(chosen["sorts"]),
    )


def list_jobs(options: ListOptions) -> int:
    """Print the requested jobs; 1 if an id is unknown."""
    home, ids, states = chosen_home(), options.ids, options.states
    found = fast_list(home, ids, everything=options.wants_ended, states=states) or _query(options)
    complain(*found.notices)
    listed = _with_jobs_of_batches(found, options) if ids else found
    parts = ([job for job in part if _is_selected(job, options)] for part in listed)
    if options.sorts:
        parts = (each for each in [_sorted(list(chain.from_iterable(parts)), options.sorts[-1])])
    _print(parts, options)
    if found.leftovers and options.is_plain and is_terminal(sys.stderr):
        note(f"corral: {leftovers_line(found.leftovers)}")
    complain(*found.unknown)
    return 1 if found.unknown else 0


def _query(options: ListOptions) -> FastList:
    """From the daemon by the full client, or from the journal."""
    from msgspec import to_builtins

    return FastList(map(to_builtins, _pages(options)))


def _pages(options: ListOptions) -> Iterator[Jobs]:
    from corral.protocol.requests import ListJobs
    from corral_tui.cli.support import connect
    from corral_tui.cli.support.offline import Offline

    with connect.reader() as caller:
        if isinstance(caller, Offline) and options.wants_ended and not options.ids:
            yield from caller.pages()
        else:
            yield caller.call(ListJobs(ids=options.ids, all=options.wants_ended, states=options.states))


def _with_jobs_of_batches(found: FastList, options: ListOptions) -> Iterator[list[dict[str, Any]]]:
    """After a batch that was named those of its jobs that have not ended, or all that were started; for -q they alone."""
    for part in found:
        for job in part:
            is_batch = job.get("kind") == "batch"
            if not (is_batch and options.only_ids):
                yield [job]
            if is_batch:
                yield from _jobs_of(job["id"], options)


def _jobs_of(batch: str, options: ListOptions) -> Iterator[list[dict[str, Any]]]:
    from msgspec import to_builtins

    from corral.protocol.requests import ListBatchJobs
    from corral_tui.cli.support import connect

    page: tuple[int, int] | None = None
    with connect.reader() as caller:
        while True:
            request = ListBatchJobs(batch=batch, page_after=page)
            if not options.wants_ended:
                request.parts = ("unended",)
            reply = caller.call(request)
            yield to_builtins(reply.jobs)
            page = reply.next_page
            if page is None:
                return


def _is_selected(job: dict[str, Any], options: ListOptions) -> bool:
    return (not options.states or job["state"] in options.states) and (
        not options.healths or job["health"] in options.healths
    )


def _sorted(jobs: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """By that key, then by id. Stuck jobs and large numbers first."""
    keys: dict[str, Callable[[dict[str, Any]], Any]] = {
        "id": lambda job: [int(part) for part in job["id"].split(".")],
        "health": lambda job: _HEALTHS.index(job["health"]),
        "name": lambda job: job["name"] or _first_program(job),
        "cpu": lambda job: -(job["cpu_percent"] or 0),
        "memory": lambda job: -(job["memory_bytes"] or 0),
        "time": lambda job: -(job["elapsed"] or 0),
    }
    return sorted(jobs, key=keys[key])


def _print(parts: Iterable[list[dict[str, Any]]], options: ListOptions) -> None:
    """Each part as it comes."""
    if options.as_json:
        _print_json(parts)
    elif options.only_ids:
        for part in parts:
            for job in part:
                say(job["id"])
    else:
        widths: list[int] = []
        for part in parts:
            lines = _lines(part, width_of(sys.stdout), widths)
            sys.stdout.write("".join(f"{line}\n" for line in lines))


def _print_json(parts: Iterable[list[dict[str, Any]]]) -> None:
    import json

    if is_terminal(sys.stdout):
        put_json(json.dumps(list(chain.from_iterable(parts)), ensure_ascii=False, indent=2))
        return
    before = "["
    for part in parts:
        for job in part:
            text = json.dumps(job, ensure_ascii=False, separators=(",", ":"))
            sys.stdout.write(before + safe_json(text))
            before = ","
    sys.stdout.write("[]\n" if before == "[" else "]\n")


def _lines(jobs: list[dict[str, Any]], width: int | None, widths: list[int]) -> Iterator[str]:
    """The table, or what comes next of it. A job that did not succeed is followed by the reason, a stuck one by its
    diagnosis, on the same line if the terminal has room. `widths`: the columns', as of what was printed before."""
    rows = [_row(job, is_cut=width is not None) for job in jobs]
    header, *lines = lay_out(_HEADER, rows, _NUMBERS, width, widths)
    if not widths:
        yield header
    widths[:] = map(max, column_widths([_HEADER, *rows]), widths or repeat(0))
    for job, line in zip(jobs, lines, strict=True):
        reason = _reason(job)
        if not reason:
            yield line
        elif width is None or cells(line) + 2 + cells(reason) <= width:
            yield f"{line}  {reason}"
        else:
            yield line
            yield cut(_INDENT + reason, width)


def _reason(job: dict[str, Any]) -> str:
    if job["state"] in ENDED:
        reason = reason_text(job["state"], job["reason"])
    else:
        reason = job["summary"] if job["health"] == "stuck" else None
    return _DASH + visible(reason) if reason else ""


def _row(job: dict[str, Any], *, is_cut: bool) -> tuple[str, ...]:
    is_alive = job["state"] not in ENDED
    return (
        job["id"],
        visible(job["name"] or _first_program(job)),
        _state(job),
        job["health"] or "-",
        "-" if job["exit_status"] is None else str(job["exit_status"]),
        numbers.cpu(job["cpu_percent"]) if is_alive else "-",
        numbers.size(job["memory_bytes"]) if is_alive else "-",
        numbers.duration(job["elapsed"]),
        _progress(job) + (_first_line(job["command"]) if is_cut else visible(job["command"])),
    )


def _progress(job: dict[str, Any]) -> str:
    """How far a batch is, that has not ended."""
    if job.get("batch_progress") is None or job["state"] in ENDED:
        return ""
    from types import SimpleNamespace

    from corral_tui.text.batch_progress import progress_text

    return progress_text(SimpleNamespace(**job["batch_progress"])) + "  "  # type: ignore[arg-type]


def _state(job: dict[str, Any]) -> str:
    left = f" +{job['leftovers']} left" if job["leftovers"] else ""
    # Missing in the replies of earlier releases.
    doubt = f" +{job['in_doubt']} in doubt" if job.get("in_doubt") else ""
    return f"{job['state']}{left}{doubt}"


def _first_line(command: str) -> str:
    """The first line of the command, which may be a whole script."""
    first, _, rest = command.strip().partition("\n")
    return visible(first) + (" …" if rest else "")


def _first_program(job: dict[str, Any]) -> str:
    """The title of a job without a name."""
    if job.get("kind") == "batch":
        words = job["command"].split(None, 1)
        return words[0].rpartition("/")[2] if words else "-"
    return str(job["stages"][0]["name"] if job["stages"] else job["command"])
