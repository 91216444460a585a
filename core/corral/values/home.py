"""Where a CORRAL_HOME keeps things. Paths only; nothing is opened here."""

from __future__ import annotations

import os
from typing import NamedTuple


class Home(NamedTuple):
    """The directory of one journal, its output files and its daemon."""

    path: str

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
        """`home.json`: the nonce once more, should the journal be lost."""
        return os.path.join(self.path, "home.json")

    @property
    def handover(self) -> str:
        """What a daemon hands to the program that takes its place. There for a moment only."""
        return os.path.join(self.path, "handover.json")

    @property
    def jobs(self) -> str:
        return os.path.join(self.path, "jobs")

    def job(self, job_id: str | int) -> str:
        """The folder of one job. Raises ValueError for what is no number, so that no text leads out of `jobs`."""
        return os.path.join(self.jobs, str(int(job_id)))

    def stdout(self, job_id: str | int) -> str:
        return os.path.join(self.job(job_id), "stdout")

    def stderr(self, job_id: str | int, stage: int) -> str:
        """Stages are numbered from 1."""
        return os.path.join(self.job(job_id), f"stderr.{int(stage)}")


def dropped_note(path: str) -> str:
    """Beside an output file: an empty file as long as what was dropped of its head, once something was."""
    return path + ".dropped"


def default_home() -> Home:
    """`$CORRAL_HOME`, else `corral` in the platform's state directory (XDG_STATE_HOME on Linux)."""
    chosen = os.environ.get("CORRAL_HOME")
    if chosen:
        return Home(os.path.abspath(chosen))
    from platformdirs import user_state_path

    return Home(str(user_state_path("corral", appauthor=False)))


def config_path() -> str:
    """The user's settings: `corral/config.toml` in the platform's config directory (XDG_CONFIG_HOME on Linux)."""
    from platformdirs import user_config_path

    return str(user_config_path("corral", appauthor=False) / "config.toml")
