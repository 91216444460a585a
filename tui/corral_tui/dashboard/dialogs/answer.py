"""`a` on a job that reads what is sent to it: a line to type the answer into. It goes to the job's stdin."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input

from corral.client.snapshot import Snapshot
from corral.model.errors import CorralError
from corral.model.text import one_line
from corral.output.reader import OutputFile
from corral.protocol.requests import CloseInput
from corral_tui.dashboard.dialogs.base import BottomDialog
from corral_tui.dashboard.frame.screen import Host
from corral_tui.dashboard.paint.lines import Line, wrapped
from corral_tui.dashboard.paint.text_field import Label, LineInput, OneLineInput

_TAIL = 512
"""Bytes of the output in which its last line, the question, is looked for."""


class AnswerDialog(BottomDialog):
    """Sends a line to one job, and stays for the next one."""

    DEFAULT_CSS = "AnswerDialog .dialog--line { height: 1; padding: 0 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+d", "end_input", show=False, priority=True)]

    def __init__(self, host: Host, job_id: str) -> None:
        super().__init__(host, (job_id,))
        self.job_id = job_id
        self.sent = 0
        self._is_sending = False

    def compose_body(self) -> ComposeResult:
        yield from super().compose_body()
        with Horizontal(classes="dialog--line"):
            yield Label("answer")
            yield LineInput()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(LineInput).focus()

    def snapshot_applied(self, snapshot: Snapshot) -> None:
        if self.job is None or self.job.is_ended:
            self.host.say(f"{self.job_id} has ended: it reads no more")
            self.leave()
            return
        self.redraw()

    # ---- what it says ----

    def title(self) -> tuple[str, str]:
        return f"Type the answer for {self.subject()}", f"{self.sent} sent" if self.sent else ""

    def body_lines(self, width: int) -> list[Line]:
        return wrapped(self._question(), width) if self.job else []

    def _question(self) -> str:
        """The last line that it printed, as most questions are."""
        try:
            with OutputFile(self.host.source.home.stdout(int(self.job_id))) as file:
                data = file.tail(_TAIL).data
        except OSError:
            return ""
        lines = [one_line(line) for line in data.split(b"\n")]
        return next((line for line in reversed(lines) if line.strip()), "")

    def keys(self) -> list[tuple[str, str]]:
        return [("enter", "sends the line"), ("ctrl+d", "no more comes"), ("esc", "leaves")]

    # ---- what it does ----

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if not self._is_sending:
            self._is_sending = True
            self.run_worker(self._send(event.input, event.value))

    async def _send(self, line: Input, text: str) -> None:
        """Until it is taken the line stands, so that nothing is lost."""
        try:
            await self.host.source.send_input(self.job_id, text.encode("utf-8", "surrogateescape") + b"\n")
        except (CorralError, OSError) as error:
            self.show_problem(f"not sent: {error}")
            return
        finally:
            self._is_sending = False
        self.sent += 1
        if line.value == text:
            line.value = ""
        self.host.did("job.attach", (self.job_id,))
        self.show_problem(None)

    def action_end_input(self) -> None:
        self.run_worker(self._end_input())

    async def _end_input(self) -> None:
        if await self.ask(CloseInput(job=self.job_id)) is not None:
            self.host.say(f"{self.job_id} hears that no more comes")
            self.leave()

    @on(OneLineInput.SeveralPasted)
    def _refuse(self, event: OneLineInput.SeveralPasted) -> None:
        event.stop()
        self.show_problem(f"{event.problem}; corral send {self.job_id} takes them all")
