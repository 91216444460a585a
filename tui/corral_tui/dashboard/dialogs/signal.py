"""`S`: a menu of signals and a named target. It only sends; how the program reacts is up to the program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from corral.client.snapshot import Snapshot
from corral.model.job import ProcessView
from corral.protocol.requests import ListProcesses, SignalJobs
from corral_tui.dashboard.dialogs.base import BottomDialog, ChoiceButton
from corral_tui.dashboard.frame.screen import Host
from corral_tui.dashboard.paint.block_widgets import Block
from corral_tui.dashboard.paint.lines import Line, clean, cut
from corral_tui.text import numbers

SIGNALS: tuple[tuple[str, str], ...] = (
    ("HUP", "read the settings again"),
    ("INT", "as ctrl+c does"),
    ("QUIT", "as ctrl+\\ does, core dump"),
    ("TERM", "ask it to end"),
    ("KILL", "end at once, no cleanup"),
    ("STOP", "suspend it"),
    ("CONT", "continue"),
    ("USR1", "defined by the program"),
    ("USR2", "defined by the program"),
    ("WINCH", "the window changed"),
    ("ALRM", "a timer ran out"),
    ("ABRT", "end with a core dump"),
)
"""What people send, with what it usually means (signal(7))."""

COLUMN = 38
SHORT_COLUMN = 10
"""Cells of a signal without its meaning, where only one column with it would fit."""


class SignalTarget(NamedTuple):
    """What the signal is sent to: with `tree` the job's whole tree, with `pid` one process, else each stage's leader."""

    words: str
    tree: bool = False
    pid: int | None = None


class SignalDialog(BottomDialog):
    """Sends one signal to the leaders, the tree or one process of one job. It starts on a signal that ends nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "signal_down(1)", show=False),
        Binding("up,k", "signal_down(-1)", show=False),
        Binding("right,l", "target_next(1)", show=False),
        Binding("left,h", "target_next(-1)", show=False),
    ]

    def __init__(self, host: Host, job_id: str, pid: int | None = None) -> None:
        super().__init__(host, (job_id,))
        self.job_id = job_id
        self.pid = pid
        self.chosen = next(number for number, (name, _) in enumerate(SIGNALS) if name == "CONT")
        self.processes: tuple[ProcessView, ...] = ()
        self.target_number = 2 if pid is not None else 0

    # ---- targets ----

    @property
    def targets(self) -> tuple[SignalTarget, ...]:
        job = self.job
        stages = len(job.stages) if job else 1
        leader = (
            f"each stage's leader ({stages})" if stages > 1 else f"its leader {self._leader_words()}".rstrip()
        )
        count = len(self.processes) or (job.processes if job else 0)
        targets = [
            SignalTarget(leader),
            SignalTarget(f"its whole tree ({numbers.counted(count, 'process')})", tree=True),
        ]
        if self.pid is not None:
            targets.append(SignalTarget(f"{self.pid} {self._process_name(self.pid)}".rstrip(), pid=self.pid))
        return tuple(targets)

    @property
    def target(self) -> SignalTarget:
        return self.targets[self.target_number]

    def _leader_words(self) -> str:
        job = self.job
        first = job.stages[0] if job and job.stages else None
        return f"{first.pid} {clean(first.name)}" if first and first.pid else ""

    def _process_name(self, pid: int) -> str:
        return clean(next((one.name for one in self.processes if one.pid == pid), ""))

    # ---- its life ----

    def on_mount(self) -> None:
        self.run_worker(self._list_processes())
        self.focus_choice("n")

    async def _list_processes(self) -> None:
        reply = await self.ask(ListProcesses(job=self.job_id))
        if reply is not None:
            self.processes = reply.processes
            self._choice_changed()

    def snapshot_applied(self, snapshot: Snapshot) -> None:
        job = self.job
        if job is None or (job.is_ended and not job.leftovers):
            self.show_problem(f"{self.job_id} has ended: there is no process to signal")
        self.redraw()

    def _choice_changed(self) -> None:
        for choice in self.choices():
            if choice.key == "y":
                choice.relabel(self._sending(), f"send {SIGNALS[self.chosen][0]}")
        self.redraw()

    def _sending(self) -> str:
        return f"send {SIGNALS[self.chosen][0]} to {self.target.words}"

    def _send(self) -> None:
        self.run_worker(self._ask_to_send(), group="send", exclusive=True)

    async def _ask_to_send(self) -> None:
        name, target = SIGNALS[self.chosen][0], self.target
        reply = await self.ask(SignalJobs(ids=(self.job_id,), signal=name, tree=target.tree, pid=target.pid))
        if reply is None:
            return
        if reply.errors:
            self.show_problem(reply.errors[0])
            return
        self.host.say(f"{name} sent to {target.words} of {self.subject()}")
        self.host.did("job.signal", (self.job_id,))
        self.leave()

    # ---- keys and mouse ----

    def answers(self) -> Mapping[str, Callable[[], None]]:
        return {"y": self._send, "n": self.leave}

    def action_signal_down(self, step: int) -> None:
        self.choose_signal((self.chosen + step) % len(SIGNALS))

    def action_target_next(self, step: int) -> None:
        self.target_number = (self.target_number + step) % len(self.targets)
        self._choice_changed()

    def choose_signal(self, number: int) -> None:
        self.chosen = number
        self._choice_changed()

    def compose_choices(self) -> Sequence[ChoiceButton]:
        return (
            ChoiceButton("y", self._sending(), f"send {SIGNALS[self.chosen][0]}", self._send, id="yes"),
            ChoiceButton("n", "send nothing", "nothing", self.leave, id="no"),
        )

    def compose_body(self) -> ComposeResult:
        yield Block(self._target_lines, id="signal-target")
        yield SignalMenu(self)

    # ---- what it says ----

    def title(self) -> tuple[str, str]:
        return f"Signal {self.subject()}", "only sends the signal"

    def keys(self) -> list[tuple[str, str]]:
        arrows = f"{self.host.charset.up}{self.host.charset.down}"
        return [("y", "send"), ("n", "or esc cancel"), (arrows, "signal"), ("h l", "target")]

    def _target_lines(self, width: int) -> list[Line]:
        line: Line = [(" to ", "muted")]
        if self.is_narrow:
            return [cut([*line, (f"{self.target.words}", "bold")], width, self.host.charset.ellipsis)]
        for number, target in enumerate(self.targets):
            mark = "(•)" if number == self.target_number else "( )"
            line.append((f" {mark} {target.words}  ", "bold" if number == self.target_number else "plain"))
        return [cut(line, width, self.host.charset.ellipsis)]


class SignalMenu(Block):
    """The signals, in as many columns as fit; a click chooses one."""

    def __init__(self, dialog: SignalDialog) -> None:
        super().__init__(self._menu_lines, id="signal-menu")
        self.dialog = dialog

    @staticmethod
    def _column(width: int) -> int:
        return COLUMN if width >= 2 * COLUMN else SHORT_COLUMN

    def _rows(self, width: int) -> int:
        columns = max(width // self._column(width), 1)
        return -(-len(SIGNALS) // columns)

    def _menu_lines(self, width: int) -> list[Line]:
        rows, column = self._rows(width), self._column(width)
        lines: list[Line] = [[] for _ in range(rows)]
        for number, (name, meaning) in enumerate(SIGNALS):
            is_chosen = number == self.dialog.chosen
            mark = self.dialog.host.charset.cursor if is_chosen else " "
            words = f" {mark} {name:<6} {meaning}" if column == COLUMN else f" {mark} {name}"
            lines[number % rows].append((numbers.left(words, column), "bold" if is_chosen else "plain"))
        return [cut(line, width) for line in lines]

    def on_click(self, event: events.Click) -> None:
        rows = self._rows(self.size.width)
        number = event.y + rows * (event.x // self._column(self.size.width))
        if event.y < rows and number < len(SIGNALS):
            self.dialog.choose_signal(number)
