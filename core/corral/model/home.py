"""The paths in a CORRAL_HOME. Nothing is opened here."""

from __future__ import annotations

import os
from collections.abc import Callable

from corral.model.errors import CorralError


class Home:
    """The directory of one journal, its output files and its daemon."""

    __slots__ = ("jobs", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.jobs = os.path.join(path, "jobs")

    def __repr__(self) -> str:
        return f"Home({self.path!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Home) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def journal(self) -> str:
        return os.path.join(self.path, "corral.db")

    @property
    def daemon_log(self) -> str:
        return os.path.join(self.path, "daemon.log")

    @property
    def daemon_lock(self) -> str:
        return os.path.join(self.path, "daemon.lock")

    @property
    def socket(self) -> str:
        return os.path.join(self.path, "socket")

    @property
    def identity_file(self) -> str:
        """`home.json`: a second copy of the nonce, in case the journal is lost."""
        return os.path.join(self.path, "home.json")

    @property
    def handover(self) -> str:
        """What a daemon hands over to its successor. Exists only for a moment."""
        return os.path.join(self.path, "handover.json")

    def job(self, job_id: str | int) -> str:
        """The folder of one job: of one in a batch, such as `12.3`, it lies within the batch's.

        Raises ValueError unless it consists of numbers, so that no text leads out of `jobs`.
        """
        job, of_batch, number = str(job_id).partition(".")
        return f"{self.jobs}/{int(job)}/{int(number)}" if of_batch else f"{self.jobs}/{int(job)}"

    def stdout(self, job_id: str | int) -> str:
        return f"{self.job(job_id)}/stdout"

    def stderr(self, job_id: str | int, stage: int) -> str:
        """Stages are numbered from 1."""
        return f"{self.job(job_id)}/stderr.{int(stage)}"

    def outputs(self, job_id: str | int, stages: int) -> list[str]:
        """stdout, then the stderr of each stage of a job that has so many."""
        return [self.stdout(job_id), *(self.stderr(job_id, stage) for stage in range(1, stages + 1))]

    def order(self, job_id: str | int) -> str:
        """The order in which stdout and stderr were written (`corral.output.stream_order`)."""
        return f"{self.job(job_id)}/order"


def dropped_note(path: str) -> str:
    """Beside an output file: a sparse file as long as what was dropped of the head, once something was."""
    return path + ".dropped"


def default_home() -> Home:
    """`$CORRAL_HOME`, else `corral` in the platform's state directory (XDG_STATE_HOME on Linux).

    Raises:
        CorralError: neither is set, nor HOME, and the system does not know this user (a container, cron).
    """
    chosen = os.environ.get("CORRAL_HOME")
    if chosen:
        try:
            return Home(os.path.abspath(chosen))
        except FileNotFoundError:
            raise CorralError(
                f"CORRAL_HOME {chosen} is relative to the current directory, which has been removed; cd to one that exists"
            ) from None
    from platformdirs import user_state_path

    path = _absolute(user_state_path)
    if path is None:
        raise CorralError(
            "cannot tell where this user's files belong: HOME is not set to a directory; set CORRAL_HOME to a directory of yours"
        )
    return Home(path)


def config_path() -> str:
    """The user's settings: `corral/config.toml` in the platform's config directory (XDG_CONFIG_HOME on Linux).

    If that directory is unknown there are none: the path leads nowhere.
    """
    from platformdirs import user_config_path

    path = _absolute(user_config_path)
    return os.path.join(path or os.devnull, "config.toml")


def _absolute(ask: Callable[..., os.PathLike[str]]) -> str | None:
    """The answer of platformdirs; None if it begins with a `~` that could not be expanded (expanduser leaves it as it is)."""
    try:
        path = os.fspath(ask("corral", appauthor=False))
    except RuntimeError:
        return None
    return path if os.path.isabs(path) else None
