"""A daemon that is suspended: jobs and output go on, clients say so in bounded time, and afterwards all is as before."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.client import liveness, session
from corral.client.session import SILENT, Session
from corral.model.errors import CorralError
from corral.protocol import requests as p
from e2e.daemons import Daemons, job, start
from managers import eventually
from until import until


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    made = Daemons(tmp_path / "home")
    yield made
    for daemon in made.alive():
        os.kill(daemon.pid, signal.SIGCONT)
    made.end()


async def test_a_suspended_daemon_is_named_and_goes_on_as_if_nothing_was(
    daemons: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "SILENT_SECONDS", 0.15)
    monkeypatch.setattr(session, "SILENT_SECONDS", 0.15)
    monkeypatch.setattr(session, "LIVENESS_CHECK_SECONDS", 0.05)
    said: list[str] = []
    with daemons.client() as waiter, daemons.client() as asker:
        (one,) = start(asker, ["sh", "-c", "trap 'exit 3' USR1; while :; do echo tick; sleep 0.02; done"])
        stage, pid = job(asker, one).stages[0].pid, asker.hello.pid
        assert stage is not None
        waiter.on_silence = said.append
        ended = waiter.begin(p.WaitForJobs(ids=(one,)))
        screen = await Session.connect(daemons.home, start=False)
        await screen.subscribe()
        os.kill(pid, signal.SIGSTOP)
        why = f"the daemon (pid {pid}) does not answer: it is suspended; kill -CONT {pid} lets it go on"
        with pytest.raises(CorralError) as caught:
            asker.call(p.AskStatus())
        assert str(caught.value) == why
        with pytest.raises(CorralError, match="it may then still do what was asked"):
            start(asker, "true")
        assert ended.result(timeout=1.0) is None
        assert said == [f"{why}; still waiting"]
        await eventually(lambda: screen.snapshot.trouble == SILENT, "the screen to say so")
        size = os.path.getsize(daemons.home.stdout(one))
        until(lambda: os.path.getsize(daemons.home.stdout(one)) > size, "its output to go on")
        os.kill(stage, signal.SIGUSR1)
        os.kill(pid, signal.SIGCONT)
        waited = ended.result(timeout=20)
        assert waited is not None
        assert (waited.jobs[0].state, waited.jobs[0].exit_status) == ("failed", 3)
        await eventually(lambda: screen.snapshot.trouble is None, "the screen to be well again")
        await eventually(lambda: "2" in screen.snapshot.jobs, "what was asked to be done")
        await screen.close()
