"""Pane 5, Why: the diagnosis, of now or, of an ended job, the one that was kept."""

from __future__ import annotations

from msgspec import structs

from corral.client.ask_why import ask_why
from corral.model.errors import CorralError
from corral.model.job import STARTED_STATES, Job
from corral.model.reports import Diagnosis, PythonStack
from corral.protocol.requests import AskWhy
from corral_tui.dashboard.job.pane import Pane
from corral_tui.dashboard.job.why_text import WhyContext, why_as_text, why_lines
from corral_tui.dashboard.paint.lines import Line, clean, plain, wrapped

STACKS_EVERY = 15
"""Polls: a look at Python stacks stops the program for a moment, and takes longer than all else."""


class WhyPane(Pane):
    """Pane 5: the diagnosis."""

    number = 5

    def job_changed(self) -> None:
        self.diagnosis: Diagnosis | None = None
        self._stacks: tuple[PythonStack, ...] = ()
        self._stacks_due = 0
        self._was_ended = False

    async def ask(self) -> None:
        if self.diagnosis is not None and self._was_ended:
            return
        is_ended = self.job.is_ended
        self.diagnosis = await self.host.source.call(AskWhy(job=self.job.id))
        self._was_ended = is_ended
        self._stacks_due -= 1
        if self._stacks_due <= 0 and _has_still_python(self.job, self.diagnosis):
            self._stacks_due = STACKS_EVERY
            self.run_worker(self._ask_stacks(self.job.id), group="stacks", exclusive=True)

    async def _ask_stacks(self, job_id: str) -> None:
        """Beside the polls, which do not wait for it."""
        try:
            found = await self.host.source.call(ask_why(job_id))
        except CorralError:
            return  # the next poll meets the same trouble, and shows it
        if job_id == self.job.id and self.diagnosis is not None:
            self._stacks = found.stacks
            self.diagnosis = found
            self.redraw()

    def _shown(self) -> Diagnosis | None:
        """With the stacks as they were seen last, which is no longer ago than the program stands still."""
        found = self.diagnosis
        if found is None or found.stacks or self.job.is_ended or found.health == "active":
            return found
        return structs.replace(found, stacks=self._stacks)

    def title_right(self) -> Line:
        words = {"stuck": "STUCK", "active": "active, not stuck", "waiting": "waiting, not stuck"}
        health = self.job.health
        if health:
            return plain(words[health], "alert" if health == "stuck" else "muted")
        kept = self.diagnosis.kept if self.diagnosis is not None else None
        return plain("saved diagnosis", "muted") if kept is not None else []

    def body_lines(self, width: int) -> list[Line]:
        found = self._shown()
        if found is None:
            return wrapped(clean(self.job.summary), width) if self.job.summary else []
        look = WhyContext(self.host.clock(), width, self.host.charset, self.job, self._owners())
        return why_lines(found, look)

    def _owners(self) -> dict[int, str]:
        """The processes of the other jobs' stages, and which job each is of."""
        return {
            stage.pid: f"job {job.id} {job.title}"
            for job in self.host.snapshot.jobs.values()
            if job.state in STARTED_STATES and job.id != self.job.id
            for stage in job.stages
            if stage.pid is not None
        }

    def as_text(self) -> str | None:
        found = self._shown()
        if found is None:
            return None
        head = f"{self.job.id} {self.job.title}: {self.job.command}\n\n"
        return head + why_as_text(found, self.host.clock(), self.host.charset, self.job, self._owners())


def _has_still_python(job: Job, found: Diagnosis) -> bool:
    """Whether a look at Python stacks may say more: a Python program that stands still."""
    is_still = job.state in STARTED_STATES and found.health in ("stuck", "waiting")
    return is_still and any(wait.name.startswith("python") for wait in found.waits)
