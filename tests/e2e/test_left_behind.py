"""What ended jobs of a name have left alive: said before that name runs again, and meant by a stop of the name."""

from __future__ import annotations

import json

from e2e.command import Corral
from until import until

LEAVES = "setsid -f sleep 60"


def left_by(corral: Corral, job: str) -> int:
    return int(json.loads(corral.ok("ps", "--json", job))[0]["leftovers"])


def leave(corral: Corral) -> tuple[str, int]:
    """The id of an ended job called web, and the pid that it left."""
    job = corral.ok("run", "-n", "web", "--shell", LEAVES)
    until(lambda: left_by(corral, job) == 1, "it to have left something")
    (process,) = json.loads(corral.ok("show", "--json", job))["tree"]
    return job, process["pid"]


def test_it_is_named_before_that_name_runs_again(corral: Corral) -> None:
    first, pid = leave(corral)
    line = f"corral: job {first} left {pid} sleep running; corral stop {first} ends it\n"
    again = corral("run", "-n", "web", "sleep", "60")
    assert (again.returncode, again.stderr) == (0, line)
    restarted = corral("restart", "web")
    assert (restarted.returncode, restarted.stderr) == (0, line)
    assert corral("run", "--wait", "-n", "web", "true").stderr == line
    assert corral.ok("run", "-n", "other", "true")
    running = restarted.stdout.strip()
    stopped = corral("stop", "--json", "web")
    assert stopped.returncode == 0
    reports = json.loads(stopped.stdout)
    assert [(one["id"], [each["pid"] for each in one["processes"]][-1:]) for one in reports][1:] == [
        (first, [pid])
    ]
    assert (reports[0]["id"], reports[0]["state"]) == (running, "stopped")
    assert left_by(corral, first) == 0


def test_a_restart_of_the_job_that_left_it_names_it_too_and_a_number_means_one_job(corral: Corral) -> None:
    first, pid = leave(corral)
    restarted = corral("restart", first)
    assert restarted.stderr == f"corral: job {first} left {pid} sleep running; corral stop {first} ends it\n"
    second = restarted.stdout.strip()
    until(lambda: left_by(corral, second) == 1, "the second to have left something, too")
    assert "its leftovers ended" in corral.ok("stop", second)
    assert left_by(corral, first) == 1
    told = corral.ok("stop", "--no-wait", "web").splitlines()
    assert [line.split(":")[0] for line in told] == [f"{second} web", f"{first} web"]
    until(lambda: left_by(corral, first) == 0, "the leftovers of the first to end")
