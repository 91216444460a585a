"""How far a batch is, in a few words."""

from __future__ import annotations

from corral_tui.text import numbers

TYPE_CHECKING = False  # typing, which has it, takes longer to load than the rest of `ps`
if TYPE_CHECKING:
    from corral.model.batch import BatchProgress


def progress_text(progress: BatchProgress, *, with_rate: bool = False) -> str:
    """`340/1000, 3 failed, 8 run, 2m left`; while inputs still come `340 done, 8 run`."""
    done = progress.succeeded + progress.failed + progress.stopped + progress.skipped
    found = [f"{done} done" if progress.total is None else f"{done}/{progress.total}"]
    counts = ((progress.failed, "failed"), (progress.stopped, "stopped"), (progress.running, "run"))
    found += [f"{number} {what}" for number, what in counts if number]
    if with_rate and progress.per_second is not None:
        found.append(f"{rate_text(progress.per_second)}/s")
    if progress.seconds_left is not None:
        found.append(f"{numbers.one_unit(progress.seconds_left)} left")
    return ", ".join(found)


def rate_text(per_second: float) -> str:
    """`1.3`, or `340`."""
    return f"{per_second:.2g}" if per_second < 10 else numbers.count(per_second)
