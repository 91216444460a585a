"""Finds the job that a reference means: a number, a name, or `@` for the newest."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from corral.model.errors import NotSoError, UnknownJobError, shorten

NEWEST = "@"
_LARGEST_ID = (1 << 63) - 1


def resolve(
    reference: str,
    unended: Iterable[tuple[int, str | None]],
    *,
    exists: Callable[[int], bool],
    newest_ended: Callable[[str], int | None],
    newest: Callable[[], int | None],
) -> int:
    """The id of the job that `reference` means.

    A name means the unended job of that name, else the newest ended one. `unended` has the id and name of each.

    Raises:
        UnknownJobError: no job has this number or name, or there is none at all.
        NotSoError: several jobs with this name have not ended; all are listed.
    """
    if reference == NEWEST:
        return _newest(newest())
    if reference.isascii() and reference.isdigit():
        return _numbered(reference, exists)
    running = sorted(job for job, name in unended if name == reference)
    if len(running) > 1:
        raise NotSoError(f"{reference} is the name of jobs {_listed(running)}: use a number")
    found = running[0] if running else newest_ended(reference)
    if found is None:
        raise UnknownJobError(f"no job named {shorten(reference)}; corral ps -a lists all")
    return found


def parse_id(reference: str) -> int | None:
    """The id as a number; None for anything else, and for a number that no job can have."""
    # int() refuses thousands of digits, and takes those of every script; SQLite's integers have 64 bits.
    if not (reference.isascii() and reference.isdigit() and len(reference) < 20):
        return None
    number = int(reference)
    return number if number <= _LARGEST_ID else None


def parse_batch_job(reference: str) -> tuple[str, int] | None:
    """What `12.3` and `enc.3` say: the batch, and which of its inputs. None where it says no such thing."""
    batch, dot, number = reference.rpartition(".")
    is_number = number.isascii() and number.isdigit() and len(number) < 10
    return (batch, int(number)) if dot and batch and is_number else None


def _numbered(reference: str, exists: Callable[[int], bool]) -> int:
    number = parse_id(reference)
    if number is None or not exists(number):
        raise UnknownJobError(f"no job {shorten(reference)}; corral ps -a lists all")
    return number


def _newest(job: int | None) -> int:
    if job is None:
        raise UnknownJobError("there is no job yet; corral run starts one")
    return job


def _listed(jobs: list[int]) -> str:
    *most, last = map(str, jobs)
    return f"{', '.join(most)} and {last}"
