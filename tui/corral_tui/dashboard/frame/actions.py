"""The one registry of what a person can do. It feeds the keys, the footer, the palette and the help."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from corral.client.snapshot import Snapshot
from corral.model.job import STARTED_STATES, Job

Scope = Literal["board", "opened", "dialog"]
BOARD_AND_OPENED: frozenset[Scope] = frozenset({"board", "opened"})
BOARD: frozenset[Scope] = frozenset({"board"})
OPENED: frozenset[Scope] = frozenset({"opened"})
DIALOG: frozenset[Scope] = frozenset({"dialog"})
ANYWHERE: frozenset[Scope] = frozenset({"board", "opened", "dialog"})


@dataclass(frozen=True, slots=True)
class Context:
    """What an action looks at to say whether it is possible now."""

    snapshot: Snapshot
    job: Job | None
    """The selected job, or the opened one."""
    marked: tuple[Job, ...] = ()
    scope: Scope = "board"
    hidden: frozenset[str] = frozenset()
    """The marked jobs that the filter or a fold hides."""
    pane: int = 0
    """The number of the pane that has the keys in an opened job."""
    is_peeking: bool = False
    """Whether a pipe is looked into there."""

    @property
    def targets(self) -> tuple[Job, ...]:
        """The marked jobs, or else the selected one."""
        return self.marked or ((self.job,) if self.job else ())


Refusal = Callable[[Context], str | None]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a key does.

    `refusal` returns None where it is possible now, else the reason as a sentence for line 2.
    `rank` orders the footer, smaller first; None keeps it out. `label` is the footer's word, `text` the help's line.
    """

    id: str
    keys: tuple[str, ...]
    label: str
    text: str
    scopes: frozenset[Scope]
    refusal: Refusal
    rank: int | None = None
    is_in_palette: bool = True
    is_kept_under_dialog: bool = False
    """Whether its key acts also while a dialog is up that does not take it."""

    def words(self, *, is_private: bool) -> str:
        """`text`, true also where the jobs end with the dashboard."""
        return "leave; ends the jobs" if is_private and self.id == "app.leave" else self.text

    def is_possible(self, context: Context) -> bool:
        return self.refusal(context) is None


def key_name(key: str) -> str:
    """A key as a person writes it: `question_mark` is `?`."""
    return _KEY_NAMES.get(key, key)


def action(action_id: str) -> Action:
    """The action of that id. Raises KeyError."""
    return _BY_ID[action_id]


def actions_of(scope: Scope) -> Iterator[Action]:
    """The actions of a scope, in the registry's order."""
    return (each for each in ACTIONS if scope in each.scopes)


# ---- what is possible -----------------------------------------------------------------------------------------------


def _always(context: Context) -> str | None:
    return None


def _when_daemon_is_there(context: Context) -> str | None:
    return (
        f"{context.snapshot.trouble}: nothing can be done until it answers"
        if context.snapshot.trouble
        else None
    )


def _when_there_is_a_job(context: Context) -> str | None:
    return None if context.job else "no job is selected"


def _on_a_job(context: Context) -> str | None:
    return _when_daemon_is_there(context) or (None if context.targets else "no job is selected")


def _when_it_can_be_stopped(context: Context) -> str | None:
    refused = _on_a_job(context)
    if refused:
        return refused
    if all(job.is_ended and not job.leftovers for job in context.targets):
        return f"{_named(context)} already ended"
    return None


def _when_it_has_processes(context: Context) -> str | None:
    refused = _on_a_job(context)
    if refused:
        return refused
    if context.job and (context.job.state in STARTED_STATES or context.job.leftovers):
        return None
    return f"{_named(context)} has no process to signal"


def _when_it_can_be_paused(context: Context) -> str | None:
    refused = _on_a_job(context)
    if refused:
        return refused
    if any(job.state in ("running", "paused") for job in context.targets):
        return None
    return f"{_named(context)} does not run"


def _when_it_can_be_restarted(context: Context) -> str | None:
    refused = _on_a_job(context)
    if refused:
        return refused
    if context.job and context.job.state == "queued":
        return f"{_named(context)} has not started yet"
    if context.job and context.job.state == "stopping":
        return f"{_named(context)} is being stopped; r again when it has ended"
    return None


def _when_it_has_ended(context: Context) -> str | None:
    refused = _on_a_job(context)
    if refused:
        return refused
    if any(job.is_ended for job in context.targets):
        return None
    return f"{_named(context)} runs; s stops it"


def _when_it_can_be_answered(context: Context) -> str | None:
    refused = _on_a_job(context)
    if refused:
        return refused
    job = context.job
    if job is None:
        return _named(context)
    if job.pty or job.stdin == "interactive":
        if job.state in STARTED_STATES:
            return None
        return f"{_named(context)} {'has ended' if job.is_ended else 'has not started yet'}"
    return f"{_named(context)} has no terminal; start it with corral run --pty, or with pty in the prompt (n)"


def _when_a_pipe_can_be_seen(context: Context) -> str | None:
    refused = _on_a_job(context)
    job = context.job
    if refused or job is None:
        return refused
    if context.is_peeking:
        return None
    if not job.pipes:
        return f"{_named(context)} has no pipe to look into: it is one stage"
    if job.state not in STARTED_STATES:
        return f"{_named(context)} {'has ended' if job.is_ended else 'has not started yet'}: it has no pipes"
    return None if context.pane == 1 else "1 goes to the pipes; there enter looks into one"


def _away_from_the_pipes(context: Context) -> str | None:
    return "enter looks into a pipe; z shows this pane alone" if context.pane == 1 else None


def _when_peeking(context: Context) -> str | None:
    return (
        None if context.is_peeking else "t turns the bytes of a pipe into hex; enter on pane 1 looks into one"
    )


def _when_jobs_run(context: Context) -> str | None:
    return _when_daemon_is_there(context)


def _named(context: Context) -> str:
    targets = context.targets
    if len(targets) == 1:
        return f"{targets[0].id} {targets[0].title}"
    return f"each of the {len(targets)} marked jobs"


def _move(name: str, keys: tuple[str, ...], text: str) -> Action:
    """Moving is possible everywhere, and never anything else."""
    return Action(f"move.{name}", keys, name, text, BOARD_AND_OPENED, _always, None, False, True)


# ---- the registry ---------------------------------------------------------------------------------------------------

ACTIONS: tuple[Action, ...] = (
    _move("down", ("down", "j"), "next job"),
    _move("up", ("up", "k"), "previous job"),
    _move("left", ("left", "h"), "the panel, pipe or stream to the left"),
    _move("right", ("right", "l"), "the panel, pipe or stream to the right"),
    _move("first", ("g", "home"), "first job"),
    _move("last", ("G", "end"), "last job"),
    _move("page_up", ("pageup",), "a page up"),
    _move("page_down", ("pagedown",), "a page down"),
    _move("half_up", ("ctrl+u",), "half a page up"),
    _move("half_down", ("ctrl+d",), "half a page down"),
    Action(
        "job.new", ("n",), "new", "start a command or a pipeline", BOARD_AND_OPENED, _when_daemon_is_there, 1
    ),
    Action(
        "job.chain", ("c",), "chain", "feed this job's output to a new one", BOARD_AND_OPENED, _on_a_job, 12
    ),
    Action("job.stop", ("s",), "stop", "stop it: asks first", BOARD_AND_OPENED, _when_it_can_be_stopped, 2),
    Action(
        "job.pause",
        ("p",),
        "pause",
        "pause it, or let it go on",
        BOARD_AND_OPENED,
        _when_it_can_be_paused,
        14,
    ),
    Action(
        "job.restart",
        ("r",),
        "restart",
        "run it again; asks first when it runs",
        BOARD_AND_OPENED,
        _when_it_can_be_restarted,
        13,
    ),
    Action("job.why", ("w",), "why", "why it does what it does", BOARD_AND_OPENED, _when_there_is_a_job, 3),
    Action("job.open", ("enter",), "open", "open it", BOARD, _when_there_is_a_job, 4, True),
    Action("job.signal", ("S",), "signal", "send it a signal", BOARD_AND_OPENED, _when_it_has_processes, 26),
    Action(
        "job.attach",
        ("a",),
        "attach",
        "attach to its terminal, or type an answer",
        BOARD_AND_OPENED,
        _when_it_can_be_answered,
        27,
    ),
    Action(
        "job.hide",
        ("x",),
        "take off",
        "take an ended job off the list",
        BOARD_AND_OPENED,
        _when_it_has_ended,
        25,
    ),
    Action("job.copy", ("y",), "copy", "copy its summary", BOARD_AND_OPENED, _when_there_is_a_job, 28),
    Action("view.filter", ("slash",), "filter", "show only jobs with these letters", BOARD, _always, 5),
    Action("job.mark", ("space",), "mark", "mark it, for stopping several", BOARD, _when_there_is_a_job, 15),
    Action("view.order", ("o",), "order", "sort by the next column", BOARD, _always, 16),
    Action("view.reverse", ("O",), "reverse", "sort the other way round", BOARD, _always, None),
    Action("view.switch", ("v",), "table", "panels or table; remembered", BOARD, _always, 6),
    Action("view.ended", ("e",), "ended", "show jobs that ended well, or fold them", BOARD, _always, 17),
    Action("view.preview", ("i",), "preview", "show or hide the selected job below", BOARD, _always, None),
    Action(
        "job.urgent",
        ("exclamation_mark",),
        "needs you",
        "next job that needs you",
        BOARD_AND_OPENED,
        _always,
        7,
    ),
    Action(
        "pipe.peek",
        ("enter",),
        "peek",
        "look into the chosen pipe, at the bytes that stand in it",
        OPENED,
        _when_a_pipe_can_be_seen,
        0,
    ),
    Action(
        "pipe.format", ("t",), "as hex", "the bytes of a pipe as text or as hex", OPENED, _when_peeking, 0
    ),
    Action("pane.zoom", ("z",), "zoom", "this pane alone", OPENED, _always, 11),
    Action(
        "pane.open",
        ("enter",),
        "zoom",
        "away from the pipes: this pane alone",
        OPENED,
        _away_from_the_pipes,
        None,
        False,
    ),
    Action("pane.1", ("1",), "pipeline", "pane 1, Pipeline", OPENED, _always, None, False),
    Action("pane.2", ("2",), "output", "pane 2, Output", OPENED, _always, None, False),
    Action("pane.3", ("3",), "tree", "pane 3, Tree", OPENED, _always, None, False),
    Action("pane.4", ("4",), "charts", "pane 4, Charts", OPENED, _always, None, False),
    Action("pane.5", ("5",), "why", "pane 5, Why", OPENED, _always, None, False),
    Action("pane.6", ("6",), "about", "pane 6, About", OPENED, _always, None, False),
    Action(
        "job.previous", ("left_square_bracket",), "previous", "previous job", OPENED, _always, None, False
    ),
    Action("job.next", ("right_square_bracket",), "next", "next job", OPENED, _always, None, False),
    Action(
        "output.filter",
        ("slash", "ampersand"),
        "filter",
        "show only lines of the output with these letters",
        OPENED,
        _always,
        20,
    ),
    Action("output.follow", ("f",), "follow", "follow the end of the output", OPENED, _always, 21),
    Action(
        "output.wrap",
        ("W",),
        "wrap",
        "long lines of the output in several rows, or cut",
        OPENED,
        _always,
        None,
    ),
    Action("job.environment", ("V",), "values", "show the values of its environment", OPENED, _always, None),
    Action("dialog.yes", ("y",), "do it", "do what the question asks", DIALOG, _always, None, False),
    Action("dialog.no", ("n",), "leave it", "leave it as it is", DIALOG, _always, None, False),
    Action("dialog.now", ("0",), "no grace", "do it with no grace", DIALOG, _always, None, False),
    Action("dialog.longer", ("plus",), "longer", "a longer grace", DIALOG, _always, None, False),
    Action("dialog.shorter", ("minus",), "shorter", "a shorter grace", DIALOG, _always, None, False),
    Action(
        "dialog.shell", ("ctrl+t",), "with sh", "run the line with sh", DIALOG, _always, None, False, True
    ),
    Action(
        "dialog.editor",
        ("ctrl+o",),
        "$EDITOR",
        "edit the line in $EDITOR",
        DIALOG,
        _always,
        None,
        False,
        True,
    ),
    Action(
        "app.palette",
        ("colon", "ctrl+p"),
        "palette",
        "search everything that can be done",
        BOARD_AND_OPENED,
        _always,
        30,
        False,
    ),
    Action("app.help", ("question_mark",), "help", "this help", BOARD_AND_OPENED, _always, 31),
    Action(
        "app.back",
        ("escape",),
        "back",
        "back; never leaves the program",
        ANYWHERE,
        _always,
        None,
        False,
        True,
    ),
    Action("app.leave", ("q", "ctrl+q"), "leave", "leave; jobs go on", BOARD_AND_OPENED, _always, 32),
    Action(
        "app.stop_all", ("Q",), "stop all", "stop all jobs and leave; asks first", BOARD, _when_jobs_run, None
    ),
    Action(
        "app.hint",
        ("ctrl+c",),
        "hint",
        "says how to leave; ends nothing",
        ANYWHERE,
        _always,
        None,
        False,
        True,
    ),
    Action(
        "app.suspend", ("ctrl+z",), "suspend", "suspend the dashboard", ANYWHERE, _always, None, True, True
    ),
)

_BY_ID = {each.id: each for each in ACTIONS}

_KEY_NAMES = {
    "slash": "/",
    "ampersand": "&",
    "exclamation_mark": "!",
    "question_mark": "?",
    "colon": ":",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "plus": "+",
    "minus": "-",
    "escape": "esc",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
}
