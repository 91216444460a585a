"""Jobs for tests of the dashboard: builders for one of each kind, and the crowds that SCREENS draws."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from corral.model.batch import BatchProgress, FailureGroup
from corral.model.job import Job, Pipe, Stage, StageTime, Stopping, place_of

NOW = datetime(2026, 11, 22, 14, 2, 11, tzinfo=UTC)
"""The fixed clock of the tests."""


def fixed_clock() -> datetime:
    return NOW


class Clock:
    """A clock that moves when told."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def go_on(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


# ---- builders -------------------------------------------------------------------------------------------------------


def job(number: int | str, name: str, **changes: Any) -> Job:
    """A running, active job of one stage and one process; every field can be given. `ago` is its age in seconds."""
    ago = changes.pop("ago", 60.0)
    command = changes.pop("command", name)
    argv = tuple(command.split())
    started = NOW - timedelta(seconds=ago)
    fields: dict[str, Any] = {
        "id": str(number),
        "name": name,
        "command": command,
        "cwd": "/home/ada/work",
        "state": "running",
        "health": "active",
        "created": started,
        "started": started,
        "elapsed": ago,
        "cpu_percent": 0.0,
        "memory_bytes": 8 << 20,
        "processes": 1,
        "output_bytes_per_second": 0.0,
        "origin": "command_line",
        "stages": (stage(1, argv[0] if argv else name, argv, pid=40000 + place_of(str(number))[-1]),),
    }
    return Job(**{**fields, **changes})


def stage(number: int, name: str, argv: Sequence[str] = (), **changes: Any) -> Stage:
    fields: dict[str, Any] = {
        "state": "running",
        "pid": 47000 + number,
        "started": NOW - timedelta(minutes=1),
    }
    return Stage(number=number, name=name, argv=tuple(argv) or (name,), **{**fields, **changes})


def stuck_job(number: int | str, name: str, summary: str, since: float = 130.0, **changes: Any) -> Job:
    return job(
        number,
        name,
        **{"health": "stuck", "health_since": NOW - timedelta(seconds=since), "summary": summary, **changes},
    )


def waiting_job(number: int | str, name: str, summary: str, **changes: Any) -> Job:
    return job(number, name, **{"health": "waiting", "summary": summary, **changes})


def queued_job(number: int | str, name: str, waiting_for: str, **changes: Any) -> Job:
    nothing: dict[str, Any] = {
        "state": "queued",
        "health": None,
        "started": None,
        "elapsed": None,
        "waiting_for": waiting_for,
        "cpu_percent": None,
        "memory_bytes": None,
        "processes": 0,
        "output_bytes_per_second": None,
        "stages": (Stage(number=1, name=name, argv=(name,)),),
    }
    return job(number, name, **{**nothing, **changes})


def paused_job(number: int | str, name: str, since: float = 60.0, **changes: Any) -> Job:
    return job(
        number,
        name,
        **{"state": "paused", "health": None, "paused_since": NOW - timedelta(seconds=since), **changes},
    )


def stopping_job(number: int | str, name: str, *, left: int = 1, total: int = 2, **changes: Any) -> Job:
    stopping = Stopping(
        since=NOW - timedelta(seconds=2),
        signal="TERM",
        total=total,
        left=left,
        kill_at=NOW + timedelta(seconds=3),
    )
    return job(number, name, **{"state": "stopping", "health": None, "stopping": stopping, **changes})


def ended_job(number: int | str, name: str, state: str = "succeeded", **changes: Any) -> Job:
    """Ended; `took` is how long it ran, `ended_ago` how long ago that was, both in seconds."""
    took, ended_ago = changes.pop("took", 12.0), changes.pop("ended_ago", 600.0)
    statuses = {"succeeded": 0, "failed": 1, "stopped": 143, "timed_out": 124, "lost": None}
    ended: dict[str, Any] = {
        "state": state,
        "health": None,
        "ago": took + ended_ago,
        "elapsed": took,
        "ended": NOW - timedelta(seconds=ended_ago),
        "exit_status": statuses[state],
        "cpu_percent": None,
        "memory_bytes": None,
        "processes": 0,
        "output_bytes_per_second": None,
    }
    return job(number, name, **{**ended, **changes})


def batch_job(number: int, name: str, *, failed: int = 0, **changes: Any) -> Job:
    """A batch of a thousand inputs, a third of them done; fields of `BatchProgress` can be given, too."""
    counts: dict[str, Any] = {
        "total": 1000,
        "running": 8,
        "succeeded": 340 - failed,
        "failed": failed,
        "stopped": 0,
        "skipped": 0,
        "retried": 0,
        "per_second": 5.5,
        "seconds_left": 130.0,
        "jobs_at_a_time": 8,
    }
    counts |= {key: changes.pop(key) for key in tuple(changes) if key in counts}
    taken = sum(counts[key] for key in ("running", "succeeded", "failed", "stopped", "skipped"))
    fields: dict[str, Any] = {
        "kind": "batch",
        "command": "ffmpeg -i {} {.}.mp4",
        "stages": (),
        "processes": counts["running"],
        "batch_progress": BatchProgress(queued=(counts["total"] or taken) - taken, **counts),
    }
    return job(number, name, **{**fields, **changes})


def failing_batch(number: int = 12, **changes: Any) -> Job:
    """Some of it failed, for two reasons, and two of its jobs take long."""
    causes = (
        FailureGroup("exit 1: N.mov: Invalid data found when processing input", 2, ("12.3", "12.9")),
        FailureGroup("killed by SIGKILL", 1, ("12.40",)),
    )
    return batch_job(
        number, "enc", **{"failed": 3, "failures": causes, "stragglers": ("12.28", "12.30"), **changes}
    )


def job_of_batch(number: int, state: str = "running", **changes: Any) -> Job:
    """The job of that input of batch 12."""
    fields: dict[str, Any] = {"batch": "12", "input": f"clip-{number}.mov", **changes}
    command = f"ffmpeg -i clip-{number}.mov clip-{number}.mp4"
    wanted = {"command": command, **fields}
    if state == "running":
        return job(f"12.{number}", "ffmpeg", **wanted)
    return ended_job(f"12.{number}", "ffmpeg", state, **wanted)


def spent(run: float, put_in: float, output: float) -> StageTime:
    return StageTime(run=run, input=put_in, output=output, other=round(1 - run - put_in - output, 2))


def pipeline_job(number: int | str, name: str, **changes: Any) -> Job:
    """Three stages; the second holds up the rest."""
    fields: dict[str, Any] = {
        "command": 'pg_dump shop | gzip -9 | ssh vault "cat > shop.gz"',
        "cpu_percent": 104.0,
        "memory_bytes": 38 << 20,
        "processes": 3,
        "stages": (
            stage(
                1,
                "pg_dump",
                ("pg_dump", "shop"),
                cpu_percent=3.0,
                waits="waits to write",
                time=spent(0.03, 0, 0.97),
            ),
            stage(2, "gzip", ("gzip", "-9"), cpu_percent=99.0, waits="runs", time=spent(0.97, 0.03, 0)),
            stage(
                3,
                "ssh",
                ("ssh", "vault", "cat > shop.gz"),
                cpu_percent=1.0,
                waits="waits to read",
                time=spent(0.01, 0.99, 0),
            ),
        ),
        "pipes": (
            Pipe(
                number=1,
                from_stage=1,
                to_stage=2,
                fill_bytes=1 << 20,
                capacity_bytes=1 << 20,
                bytes_per_second=41.0 * 2**20,
                bytes_total=int(74.1 * 2**30),
                exact=True,
                limited_by="reader",
            ),
            Pipe(
                number=2,
                from_stage=2,
                to_stage=3,
                fill_bytes=0,
                capacity_bytes=1 << 20,
                bytes_per_second=12.0 * 2**20,
                bytes_total=int(21.9 * 2**30),
                exact=True,
                limited_by="writer",
            ),
        ),
        "bottleneck": 2,
        "summary": "gzip -9 holds up the rest: it runs 97 % of the time",
    }
    return job(number, name, **{**fields, **changes})


def six_jobs() -> list[Job]:
    """SCREENS section 1: six that run, one of them stuck, one a pipeline with a bottleneck; three ended well."""
    gigabyte, megabyte = 2**30, 2**20
    return [
        job(
            1,
            "train",
            command="python train.py --data /mnt/big --epochs 40",
            ago=7380,
            cpu_percent=780.0,
            memory_bytes=int(6.2 * gigabyte),
            processes=12,
            output_bytes_per_second=120.0,
        ),
        job(
            2,
            "build",
            command="make -j8 all",
            ago=250,
            cpu_percent=640.0,
            memory_bytes=int(1.9 * gigabyte),
            processes=23,
            output_bytes_per_second=2458.0,
        ),
        pipeline_job(3, "nightly-dump", ago=1867, stderr_bytes=96),
        stuck_job(
            4,
            "fetch-index",
            "curl waits for 10.0.0.7:443 to send; the connection is open and silent",
            command="curl -fsS https://10.0.0.7/index.json -o index.json",
            ago=1124,
            memory_bytes=int(8.1 * megabyte),
        ),
        waiting_job(
            5,
            "web",
            "waits for connections on 0.0.0.0:8080",
            command="python -m http.server 8080",
            ago=3 * 86400 + 4 * 3600,
            memory_bytes=24 * megabyte,
        ),
        job(
            6,
            "tests",
            command="pytest -x -n 4 tests/",
            ago=52,
            cpu_percent=310.0,
            memory_bytes=840 * megabyte,
            processes=9,
            output_bytes_per_second=310.0,
        ),
        ended_job(7, "lint", took=12, command="ruff check ."),
        ended_job(8, "fetch-deps", took=62, command="npm ci"),
        ended_job(9, "vacuum", took=280, command='psql -c "vacuum analyze"'),
    ]


SIX_OUTPUTS = {
    "1": "".join(
        f"epoch 12/40  step {step}  loss {0.45 - step / 80000:.3f}  lr 2.1e-4\n"
        for step in range(3100, 3270, 10)
    ),
    "2": "".join(
        f"  CC      src/{name}.o\n" for name in ("net/tls_session", "net/dial", "store/btree", "sql/parse")
    )
    + "src/store/btree.c:311:9: \x1b[35mwarning:\x1b[0m unused variable ‘n’\n  LD      libstore.so\n",
    "5": '10.0.0.9 - - [22/Nov/2026 13:41:02] "GET /a.tar HTTP/1.1" 200 -\n'
    '10.0.0.4 - - [22/Nov/2026 13:55:31] "GET /robots.txt HTTP/1.1" 404 -\n',
    "6": "tests/core/test_spawn.py ..........................            [ 21%]\ntests/core/test_pipes.py ....\n",
}


def three_hundred_jobs() -> list[Job]:
    """SCREENS section 2: 8 running, one stuck, one failed, 1 paused, 1 stopping, 77 queued, 212 ended well."""
    jobs = [ended_job(number, f"enc-{number:04}", took=240.0 + number % 60) for number in range(1, 212)]
    special: dict[int, Job] = {
        214: stuck_job(
            214,
            "enc-0214",
            "waits for the lock on /mnt/nas/out.idx, which job 17 nas-sync holds; that one waits for its network",
            since=189.0,
            ago=238.0,
            memory_bytes=398 << 20,
            processes=2,
            command="ffmpeg -i /in/0214.mov -c:v libx264 -y /mnt/nas/0214.mkv",
        ),
        217: ended_job(217, "enc-0217", "failed", took=12, reason="stage 1 (ffmpeg) exited with 1"),
        219: paused_job(219, "enc-0219", ago=219, memory_bytes=411 << 20, processes=2),
        221: stopping_job(221, "enc-0221", ago=210, memory_bytes=402 << 20, processes=2, cpu_percent=3.0),
        223: waiting_job(
            223, "enc-0223", "waits for the disk: reads /in/0223.mov (nfs)", ago=200, memory_bytes=399 << 20
        ),
    }
    for number in range(212, 301):
        name = f"enc-{number:04}"
        if number in special:
            jobs.append(special[number])
        elif number < 224:
            jobs.append(
                job(
                    number,
                    name,
                    ago=242.0 - (number - 212) * 4,
                    cpu_percent=95.0 + number % 5,
                    memory_bytes=(400 + number % 17) << 20,
                    processes=2,
                    output_bytes_per_second=1126.0,
                    command=f"ffmpeg -i /in/{number:04}.mov -y /mnt/nas/{number:04}.mkv",
                )
            )
        else:
            jobs.append(queued_job(number, name, "limit: 8 of 8 running in group enc"))
    return jobs


def many_jobs(number: int = 1000) -> list[Job]:
    """So many idle jobs."""
    return [
        waiting_job(each, f"idle-{each:04}", "waits for a timer", ago=3600.0) for each in range(1, number + 1)
    ]
