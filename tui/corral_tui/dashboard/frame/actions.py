"""The one registry of what a person can do. It feeds the keys, the footer, the palette and the help."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from corral.client.snapshot import Snapshot
from corral.model.job import STARTED_STATES, Job

Scope = Literal["board", "opened", "dialog"]
BOTH: frozenset[Scope] = frozenset({"board", "opened"})
BOARD: frozenset[Scope] = frozenset({"board"})
OPENED: frozenset[Scope] = frozenset({"opened"})
DIALOG: frozenset[Scope] = frozenset({"dialog"})
ANYWHERE = BOTH | DIALOG

PANES = ("Pipeline", "Output", "Tree", "Charts", "Why", "About")
"""The panes of an opened job, in the order of their numbers."""


@dataclass(frozen=True, slots=True)
class Context:
    """What an action looks at to say whether it is possible now."""

    snapshot: Snapshot
    job: Job | None
    """The selected job, or the opened one."""
    scope: Scope = "board"
    marked: tuple[Job, ...] = ()
    """Those marked with space, in the order of their numbers."""
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
"""None where an action is possible now, else the reason as a sentence for line 2."""


# ---- what is possible -----------------------------------------------------------------------------------------------


def _never(context: Context) -> str | None:
    return None


def _without_daemon(context: Context) -> str | None:
    trouble = context.snapshot.trouble
    return f"{trouble}: nothing can be done until it answers" if trouble else None


def _without_job(context: Context) -> str | None:
    return None if context.job else "no job is selected"


def _without_targets(context: Context) -> str | None:
    return _without_daemon(context) or (None if context.targets else "no job is selected")


def _of_targets(refusal: Refusal) -> Refusal:
    """`refusal`, where the daemon answers and there are jobs to act on."""
    return lambda context: _without_targets(context) or refusal(context)


@_of_targets
def _unless_it_can_be_stopped(context: Context) -> str | None:
    if all(job.is_ended and not job.leftovers for job in context.targets):
        return f"{_named(context)} already ended"
    return None


@_of_targets
def _unless_it_has_processes(context: Context) -> str | None:
    if context.job and (context.job.state in STARTED_STATES or context.job.leftovers):
        return None
    return f"{_named(context)} has no process to signal"


@_of_targets
def _unless_it_can_be_paused(context: Context) -> str | None:
    if any(job.state in ("running", "paused") for job in context.targets):
        return None
    return f"{_named(context)} does not run"


@_of_targets
def _unless_it_can_be_restarted(context: Context) -> str | None:
    if context.job and context.job.state == "queued":
        return f"{_named(context)} has not started yet"
    if context.job and context.job.state == "stopping":
        return f"{_named(context)} is being stopped; r again when it has ended"
    return None


@_of_targets
def _unless_it_has_ended(context: Context) -> str | None:
    return None if any(job.is_ended for job in context.targets) else f"{_named(context)} runs; s stops it"


@_of_targets
def _unless_it_can_be_answered(context: Context) -> str | None:
    job = context.job
    if job is None:
        return _named(context)
    if job.pty or job.stdin == "interactive":
        return _unless_it_is_there(context, job)
    return f"{_named(context)} has no terminal; start it with corral run --pty, or with pty in the prompt (n)"


@_of_targets
def _unless_a_pipe_is_seen(context: Context) -> str | None:
    job = context.job
    if job is None or context.is_peeking:
        return None
    if not job.pipes:
        return f"{_named(context)} has no pipe to look into: it has only one stage"
    absent = _unless_it_is_there(context, job)
    if absent:
        return f"{absent}: it has no pipes"
    return None if context.pane == 1 else "press 1 for the pipes; there enter looks into one"


def _unless_it_is_there(context: Context, job: Job) -> str | None:
    if job.state in STARTED_STATES:
        return None
    return f"{_named(context)} {'has ended' if job.is_ended else 'has not started yet'}"


def _on_the_pipes(context: Context) -> str | None:
    return "enter looks into a pipe; z shows this pane alone" if context.pane == 1 else None


def _unless_peeking(context: Context) -> str | None:
    if context.is_peeking:
        return None
    return "t shows the bytes of a pipe as hex; enter on pane 1 looks into a pipe"


def _named(context: Context) -> str:
    targets = context.targets
    if len(targets) == 1:
        return f"{targets[0].id} {targets[0].title}"
    return f"each of the {len(targets)} marked jobs"


# ---- the registry ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a key does.

    `rank` orders the footer, smaller first; None keeps it out. `label` is the footer's word, `text` the help's line.
    """

    id: str
    keys: tuple[str, ...]
    label: str
    text: str
    scopes: frozenset[Scope]
    rank: int | None = None
    refusal: Refusal = _never
    is_in_palette: bool = True
    is_kept_under_dialog: bool = False
    """Whether its key acts also while a dialog is up that does not take it."""

    def words(self, *, is_private: bool) -> str:
        """`text`, true also where the jobs end with the dashboard."""
        return "leave; ends the jobs" if is_private and self.id == "app.leave" else self.text

    def is_possible(self, context: Context) -> bool:
        return self.refusal(context) is None


def _hidden(
    id: str,  # noqa: A002
    keys: tuple[str, ...],
    label: str,
    text: str,
    scopes: frozenset[Scope],
    *,
    kept: bool = False,
) -> Action:
    """One that neither footer nor palette offers; `kept` under a dialog that does not take its key."""
    return Action(id, keys, label, text, scopes, is_in_palette=False, is_kept_under_dialog=kept)


def _move(name: str, keys: tuple[str, ...], text: str) -> Action:
    return _hidden(f"move.{name}", keys, name, text, BOTH, kept=True)


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
    Action("job.new", ("n",), "new", "start a command or a pipeline", BOTH, 1, _without_daemon),
    Action("job.chain", ("c",), "chain", "feed this job's output to a new one", BOTH, 12, _without_targets),
    Action("job.stop", ("s",), "stop", "stop it: asks first", BOTH, 2, _unless_it_can_be_stopped),
    Action("job.pause", ("p",), "pause", "pause it, or let it go on", BOTH, 14, _unless_it_can_be_paused),
    Action(
        "job.restart",
        ("r",),
        "restart",
        "run it again; asks first when it runs",
        BOTH,
        13,
        _unless_it_can_be_restarted,
    ),
    Action("job.why", ("w",), "why", "why it is stuck, or what it does", BOTH, 3, _without_job),
    Action("job.open", ("enter",), "open", "open it", BOARD, 4, _without_job),
    Action("job.signal", ("S",), "signal", "send it a signal", BOTH, 26, _unless_it_has_processes),
    Action(
        "job.attach",
        ("a",),
        "attach",
        "attach to its terminal, or type an answer",
        BOTH,
        27,
        _unless_it_can_be_answered,
    ),
    Action("job.hide", ("x",), "take off", "take an ended job off the list", BOTH, 25, _unless_it_has_ended),
    Action("job.copy", ("y",), "copy", "copy its summary", BOTH, 28, _without_job),
    Action("view.filter", ("slash",), "filter", "show only jobs that contain a text", BOARD, 5),
    Action("job.mark", ("space",), "mark", "mark it, for stopping several", BOARD, 15, _without_job),
    Action("view.order", ("o",), "order", "sort by the next column", BOARD, 16),
    Action("view.reverse", ("O",), "reverse", "sort the other way round", BOARD),
    Action("view.switch", ("v",), "table", "switch between panels and table; remembered", BOARD, 6),
    Action("view.ended", ("e",), "ended", "show jobs that ended well, or fold them", BOARD, 17),
    Action("view.preview", ("i",), "preview", "show or hide the selected job below", BOARD),
    Action("job.urgent", ("exclamation_mark",), "needs you", "next job that needs you", BOTH, 7),
    Action(
        "pipe.peek",
        ("enter",),
        "peek",
        "show the bytes in the chosen pipe",
        OPENED,
        0,
        _unless_a_pipe_is_seen,
    ),
    Action(
        "pipe.format",
        ("t",),
        "as hex",
        "show the bytes of a pipe as text or as hex",
        OPENED,
        0,
        _unless_peeking,
    ),
    Action("pane.zoom", ("z",), "zoom", "show this pane alone", OPENED, 11),
    Action(
        "pane.open",
        ("enter",),
        "zoom",
        "in other panes: show this pane alone",
        OPENED,
        None,
        _on_the_pipes,
        is_in_palette=False,
    ),
    *(
        _hidden(f"pane.{number}", (str(number),), name.lower(), f"pane {number}, {name}", OPENED)
        for number, name in enumerate(PANES, start=1)
    ),
    _hidden("job.previous", ("left_square_bracket",), "previous", "previous job", OPENED),
    _hidden("job.next", ("right_square_bracket",), "next", "next job", OPENED),
    Action(
        "output.filter",
        ("slash", "ampersand"),
        "filter",
        "show only lines of the output that contain a text",
        OPENED,
        20,
    ),
    Action("output.follow", ("f",), "follow", "follow the end of the output", OPENED, 21),
    Action("output.wrap", ("W",), "wrap", "wrap long lines of the output, or cut them", OPENED),
    Action("job.environment", ("V",), "values", "show the values of its environment", OPENED),
    _hidden("dialog.yes", ("y",), "do it", "yes, do it", DIALOG),
    _hidden("dialog.no", ("n",), "leave it", "no, change nothing", DIALOG),
    _hidden("dialog.now", ("0",), "no grace", "do it without a grace time", DIALOG),
    _hidden("dialog.longer", ("plus",), "longer", "a longer grace time", DIALOG),
    _hidden("dialog.shorter", ("minus",), "shorter", "a shorter grace time", DIALOG),
    _hidden("dialog.shell", ("ctrl+t",), "with sh", "run the line with sh", DIALOG, kept=True),
    _hidden("dialog.editor", ("ctrl+o",), "$EDITOR", "edit the line in $EDITOR", DIALOG, kept=True),
    Action(
        "app.palette",
        ("colon", "ctrl+p"),
        "palette",
        "search everything you can do",
        BOTH,
        30,
        is_in_palette=False,
    ),
    Action("app.help", ("question_mark",), "help", "this help", BOTH, 31),
    _hidden("app.back", ("escape",), "back", "back; never leaves the program", ANYWHERE, kept=True),
    Action("app.leave", ("q", "ctrl+q"), "leave", "leave; jobs go on", BOTH, 32),
    Action(
        "app.stop_all",
        ("Q",),
        "stop all",
        "stop all jobs and leave; asks first",
        BOARD,
        None,
        _without_daemon,
    ),
    _hidden("app.hint", ("ctrl+c",), "hint", "says how to leave; ends nothing", ANYWHERE, kept=True),
    Action(
        "app.suspend", ("ctrl+z",), "suspend", "suspend the dashboard", ANYWHERE, is_kept_under_dialog=True
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


def key_name(key: str) -> str:
    """A key as a person writes it: `question_mark` is `?`."""
    return _KEY_NAMES.get(key, key)


def action(action_id: str) -> Action:
    """The action of that id. Raises KeyError."""
    return _BY_ID[action_id]


def actions_of(scope: Scope) -> Iterator[Action]:
    """The actions of a scope, in the registry's order."""
    return (each for each in ACTIONS if scope in each.scopes)
