"""Opening what may make us wait, a FIFO above all, beside the loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

from corral.manage.jobs import ManagedJob
from corral.manage.starting import Preparation, StartError
from corral.system.openings import PatientOpening
from corral.values.errors import CannotStartError
from corral.values.spec import Redirection

Opened = Callable[[Preparation, StartError | None], None]


def _give_up(job: ManagedJob) -> None:
    """One file cannot be opened, so nobody waits for the others."""
    for opening in job.openings:
        opening.give_up()
    job.openings.clear()


class FileOpener:
    """Opens the patient files of a preparation, each in a thread of its own, and reports in the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def open(
        self, preparation: Preparation, files: Sequence[tuple[int, int, Redirection, str]], opened: Opened
    ) -> None:
        """Call `opened` once all are open, or with the first error."""
        job = preparation.job
        left = {(number, position) for number, position, _, _ in files}
        has_failed = False

        def note(number: int, position: int, result: int | CannotStartError) -> None:
            nonlocal has_failed
            left.discard((number, position))
            if isinstance(result, CannotStartError):
                if not (has_failed or job.life.is_ended):
                    has_failed = True
                    _give_up(job)
                    opened(preparation, StartError(number, result))
                return
            if has_failed or job.life.is_ended:
                os.close(result)
                preparation.close()
                return
            preparation.opened[number, position] = result
            if not left:
                job.openings.clear()
                opened(preparation, None)

        for number, position, redirection, path in files:
            job.openings.append(
                PatientOpening(
                    redirection, path, job.surroundings.umask, self._reporter(note, number, position)
                )
            )

    def _reporter(
        self, note: Callable[[int, int, int | CannotStartError], None], number: int, position: int
    ) -> Callable[[int | CannotStartError], None]:
        def report(result: int | CannotStartError) -> None:
            try:
                self._loop.call_soon_threadsafe(note, number, position, result)
            except RuntimeError:
                # The loop has closed: the daemon is ending, and with it every descriptor.
                return

        return report
