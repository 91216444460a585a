"""The five things to try: which are done, and the line that says what is next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from corral_tui.demo.jobs import STUBBORN


@dataclass(frozen=True, slots=True)
class DemoStep:
    """One thing to try. `action` is the id of the dashboard's action, `job` the name of the job it must be about."""

    keys: str
    text: str
    action: str
    job: str | None = None


STEPS = (
    DemoStep("!", "goes to the job that needs you", "job.urgent"),
    DemoStep("w", "says why it is stuck, and what it waits for", "job.why"),
    DemoStep("s, then y", f"on {STUBBORN}: stops what refuses to stop", "job.stop", STUBBORN),
    DemoStep("n", "and type  seq 1000000 | sort -R | sha256sum", "job.new"),
    DemoStep("q", "leaves; here it also ends the demo, with proof", "app.leave"),
)


@dataclass(slots=True)
class StepProgress:
    """The steps done, in any order. The next step is the one after the last that was done."""

    name_of: Callable[[str], str | None]
    """The name of a job by its id."""
    done: set[int] = field(default_factory=set)

    def note(self, action: str, job_ids: tuple[str, ...]) -> bool:
        """Record an action. Returns whether it completed a new step."""
        for number, step in enumerate(STEPS):
            if number not in self.done and step.action == action and self._is_about(step, job_ids):
                self.done.add(number)
                return True
        return False

    @property
    def next(self) -> int:
        """The index of the step to show."""
        return min(max(self.done, default=-1) + 1, len(STEPS) - 1)

    def line(self, tick: str) -> str:
        """`Try it, 2 of 5:  w  says why …`, and a tick for each that was done."""
        step = STEPS[self.next]
        ticks = "  ".join(f"{tick} {number + 1}" for number in sorted(self.done))
        return f"Try it, {self.next + 1} of {len(STEPS)}:  {step.keys}  {step.text}      {ticks}".rstrip()

    def _is_about(self, step: DemoStep, job_ids: tuple[str, ...]) -> bool:
        return step.job is None or any(self.name_of(job_id) == step.job for job_id in job_ids)
