"""A capping of the test's own on real files: the manager round it holds only what it asks for."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob, ManagedStage
from corral.library.job_handle import _read_all
from corral.model.home import Home
from corral.model.job import Job, Stage
from corral.model.spec import DEFAULT_MAX_OUTPUT, Command, JobSpec, Pipeline, Surroundings
from corral.output.reader import READ_SIZE, Chunk, OutputFile, dropped_bytes
from corral.output.reader_claims import ReaderClaim
from corral.platform.files import hole_punching
from corral.processes.local_run import run_of
from corral.runner import output_cap as module
from corral.runner.output_cap import OutputCap, slack_of
from holes import drop, on_disk
from managers import eventually

CAP = 64 << 10
LIMIT = CAP + slack_of(CAP)
LINE = b"%063d\n"


class Manager:
    """What `OutputCap` asks of a manager, with one job of two stages."""

    def __init__(self, path: Path, cap: int | None = CAP) -> None:
        self.home = Home(str(path))
        self.events: list[str] = []
        self.fed: list[int] = []
        self.to_feed: int | None = None
        self.saved: list[Job] = []
        self.journal = SimpleNamespace(
            record=lambda _, __, ___, text: self.events.append(text), update_ended=self.saved.append
        )
        self.leftovers: list[int] = []
        self.feeds = SimpleNamespace(
            head_goes=lambda _, cut, __: self.fed.append(cut), still_to_feed=lambda *_: self.to_feed
        )
        os.makedirs(self.home.job(1), exist_ok=True)
        for each in (self.home.stdout(1), self.home.stderr(1, 1), self.home.stderr(1, 2)):
            Path(each).touch()
        self.job = job_of(cap)
        stages = tuple(Stage(number=number, name="x", argv=("x",)) for number in (1, 2))
        snapshot = Job(id="1", name=None, command="x | x", cwd="/", created=datetime.now(UTC), stages=stages)
        self.table = JobTable([snapshot])
        self.table.add(self.job)
        self.snapshots = SimpleNamespace(of=self.table.ended.get)

    def capping(self) -> OutputCap:
        parts: Any = self
        return OutputCap(
            parts.home, parts.table, parts.journal, parts.snapshots, parts.feeds, lambda: self.leftovers
        )

    @property
    def stdout(self) -> Path:
        return Path(self.home.stdout(1))

    def grow(self, size: int) -> None:
        """Let the job's stdout have so many bytes, in numbered lines of 64."""
        now = self.stdout.stat().st_size
        with self.stdout.open("ab") as file:
            file.write(b"".join(LINE % number for number in range(now // 64, size // 64)))

    def kept(self) -> bytes:
        with OutputFile(str(self.stdout)) as file:
            return file.read(0, 1 << 30).data


def job_of(cap: int | None) -> ManagedJob:
    command = Command(("x",))
    spec = JobSpec(pipeline=Pipeline((command, command)), command="x | x", max_output=cap)
    life: Any = SimpleNamespace(is_ended=False, is_started=True, started_now=0.0)
    stages = [ManagedStage(number, "x", ("x",)) for number in (1, 2)]
    return ManagedJob(1, spec, Surroundings({}, "/", 0o022), datetime.now(UTC), life, stages)


def look(capping: OutputCap, manager: Manager) -> None:
    """What the monitor does at a visit."""
    manager.job.output.stdout = manager.stdout.stat().st_size
    capping.look(manager.job)


def on_capping(check: Callable[[OutputCap, Manager], Any], path: Path, cap: int | None = CAP) -> None:
    async def run() -> None:
        manager = Manager(path, cap)
        await check(manager.capping(), manager)

    asyncio.run(run())


def is_punched(manager: Manager) -> bool:
    return run_of(manager.job).capped is not None and not any(
        stream.is_punching or stream.punched < stream.hole_end for stream in run_of(manager.job).capped
    )


def test_the_newest_stay_in_whole_lines_and_the_rest_leaves_the_disk(tmp_path: Path) -> None:
    cap = CAP + 7  # so that no cut falls on the start of a line by itself

    async def check(capping: OutputCap, manager: Manager) -> None:
        manager.grow(LIMIT)
        look(capping, manager)
        assert dropped_bytes(str(manager.stdout)) is None
        for size in range(LIMIT + 4096, LIMIT * 8, 4096):
            manager.grow(size)
            look(capping, manager)
            await eventually(lambda: is_punched(manager), "the hole")
            assert cap <= size - manager.job.output.stdout_dropped <= LIMIT + 64
        kept = manager.kept()
        first = int(kept.split(b"\n")[0])
        assert kept == b"".join(LINE % number for number in range(first, size // 64))
        assert len(kept) == size - manager.job.output.stdout_dropped
        assert on_disk(manager.stdout) <= LIMIT + 64 + hole_punching.BLOCK
        assert on_disk(Path(f"{manager.stdout}.dropped")) == 0
        assert manager.events == ["stdout has grown past 65543: from now on its oldest bytes are dropped"]
        assert manager.fed[-1] == manager.job.output.stdout_dropped

    on_capping(check, tmp_path, cap)


def test_each_stages_stderr_is_capped_for_itself_and_no_cap_is_none(tmp_path: Path) -> None:
    async def check(capping: OutputCap, manager: Manager) -> None:
        Path(manager.home.stderr(1, 2)).write_bytes(b"x" * 3 * CAP)
        manager.job.output.stderr = 3 * CAP
        look(capping, manager)
        await eventually(lambda: is_punched(manager), "the hole")
        # A line longer than that is near has to be cut.
        assert [stage.history.stderr_dropped for stage in manager.job.stages] == [0, 2 * CAP]
        assert manager.events[0].startswith("stderr of stage 2 (x) has grown past 64K")
        assert manager.fed == []

    on_capping(check, tmp_path)

    async def check_none(capping: OutputCap, manager: Manager) -> None:
        manager.grow(8 * CAP)
        look(capping, manager)
        capping.finish(manager.job)
        assert (len(manager.kept()), manager.events) == (8 * CAP, [])

    on_capping(check_none, tmp_path / "none", None)


def test_a_crash_between_the_note_and_the_hole_changes_nothing_for_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die_before_the_hole(capping: OutputCap, manager: Manager) -> None:
        manager.grow(4 * CAP)
        monkeypatch.setattr(module, "in_thread", lambda work: None)
        look(capping, manager)

    async def go_on(capping: OutputCap, manager: Manager) -> None:
        before = manager.kept()
        assert CAP <= len(before) <= LIMIT
        assert on_disk(manager.stdout) == 4 * CAP
        monkeypatch.undo()
        look(capping, manager)
        assert manager.job.output.stdout_dropped == 4 * CAP - len(before)
        await eventually(lambda: is_punched(manager), "the hole")
        assert on_disk(manager.stdout) <= LIMIT
        assert manager.kept() == before

    on_capping(die_before_the_hole, tmp_path)
    on_capping(go_on, tmp_path)


@pytest.mark.parametrize("refused_at", [1, 2])
def test_a_file_system_without_holes_keeps_everything_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused_at: int
) -> None:
    """The first call only tries on the note; some refuse not before the second, such as a file that may only grow."""
    calls = 0
    punch = hole_punching.punch

    def refuse(descriptor: int, start: int, end: int) -> None:
        nonlocal calls
        calls += 1
        if calls >= refused_at:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        punch(descriptor, start, end)

    monkeypatch.setattr(hole_punching, "punch", refuse)

    async def check(capping: OutputCap, manager: Manager) -> None:
        manager.grow(4 * CAP)
        look(capping, manager)
        await eventually(
            lambda: run_of(manager.job).capped and run_of(manager.job).capped[0].cannot, "it to be refused"
        )
        look(capping, manager)
        capping.finish(manager.job)
        assert len(manager.kept()) == 4 * CAP
        assert (manager.job.output.stdout_dropped, calls) == (0, refused_at)
        assert manager.events[-1] == (
            "stdout is past its max output and its oldest bytes cannot be dropped: "
            "Operation not supported; all of it is kept"
        )

    on_capping(check, tmp_path)


def test_what_fails_for_now_is_said_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(capping: OutputCap, manager: Manager) -> None:
        punch = hole_punching.punch
        failures = [0, errno.EIO, errno.ENOSPC, errno.ENOSPC]

        def fail(descriptor: int, start: int, end: int) -> None:
            if failures and (number := failures.pop(0)):
                raise OSError(number, os.strerror(number))
            punch(descriptor, start, end)

        monkeypatch.setattr(hole_punching, "punch", fail)
        manager.grow(4 * CAP)
        look(capping, manager)
        await eventually(lambda: not failures and is_punched(manager), "it to have been tried again")
        assert CAP <= len(manager.kept()) <= LIMIT
        assert on_disk(manager.stdout) <= LIMIT
        assert [text.split(": ")[-1] for text in manager.events[1:]] == [
            "Input/output error; tried again",
            "No space left on device; tried again",
        ]

    on_capping(check, tmp_path)


def test_the_daemon_never_waits_for_a_write_that_holds_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(capping: OutputCap, manager: Manager) -> None:
        punch, may_punch = hole_punching.punch, threading.Event()

        def wait(descriptor: int, start: int, end: int) -> None:
            if threading.current_thread() is not threading.main_thread():
                assert may_punch.wait(20)
            punch(descriptor, start, end)

        monkeypatch.setattr(hole_punching, "punch", wait)
        manager.grow(4 * CAP)
        look(capping, manager)
        noted = manager.job.output.stdout_dropped
        manager.grow(8 * CAP)
        look(capping, manager)
        # Nothing more is dropped before the first cut has made room…
        assert 0 < noted == manager.job.output.stdout_dropped
        # …but for a job that ends there is no later, and its last snapshot has the last count.
        manager.job.output.stdout = 8 * CAP
        manager.job.life.is_ended = True  # type: ignore[misc]
        capping.finish(manager.job)
        assert len(manager.kept()) == 8 * CAP - manager.job.output.stdout_dropped <= LIMIT
        may_punch.set()
        await eventually(lambda: is_punched(manager), "the holes")
        assert on_disk(manager.stdout) <= LIMIT

    on_capping(check, tmp_path)


def test_a_job_that_empties_its_own_output_begins_anew(tmp_path: Path) -> None:
    async def check(capping: OutputCap, manager: Manager) -> None:
        manager.grow(4 * CAP)
        look(capping, manager)
        await eventually(lambda: is_punched(manager), "the hole")
        os.truncate(manager.stdout, 0)
        manager.stdout.write_bytes(b"new")
        look(capping, manager)
        assert (manager.kept(), manager.job.output.stdout_dropped) == (b"new", 0)
        manager.grow(4 * CAP)
        look(capping, manager)
        await eventually(lambda: is_punched(manager), "the second hole")
        assert on_disk(manager.stdout) <= LIMIT

    on_capping(check, tmp_path)


@pytest.mark.parametrize("how", ["link", "second name"])
def test_nothing_but_the_jobs_own_file_is_ever_punched(tmp_path: Path, how: str) -> None:
    async def check(capping: OutputCap, manager: Manager) -> None:
        manager.grow(4 * CAP)
        precious = tmp_path / "precious"
        if how == "link":
            manager.stdout.rename(precious)
            manager.stdout.symlink_to(precious)
        else:
            os.link(manager.stdout, precious)
        before = precious.read_bytes()
        look(capping, manager)
        await eventually(lambda: manager.events, "it to be said")
        assert precious.read_bytes() == before
        assert "cannot be dropped" in manager.events[-1]

    on_capping(check, tmp_path)


def test_what_an_ended_job_left_alive_is_capped_too(tmp_path: Path) -> None:
    async def check(capping: OutputCap, manager: Manager) -> None:
        manager.job.life.is_ended = True  # type: ignore[misc]
        manager.leftovers.append(1)
        manager.job.leftovers = 1
        manager.grow(4 * CAP)
        capping.tick()
        await eventually(lambda: is_punched(manager), "the hole")
        snapshot = manager.table.ended[1]
        assert snapshot.stdout_bytes == 4 * CAP
        assert snapshot.stdout_bytes - snapshot.stdout_dropped_bytes == len(manager.kept()) <= LIMIT
        assert manager.saved == [snapshot]

    on_capping(check, tmp_path)


def test_the_usual_cap_spares_what_somebody_still_copies_while_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 2 * DEFAULT_MAX_OUTPUT
    limit = DEFAULT_MAX_OUTPUT + slack_of(DEFAULT_MAX_OUTPUT)

    async def check(capping: OutputCap, manager: Manager) -> None:
        monkeypatch.setattr(OutputCap, "_has_room", lambda _: True)
        os.truncate(manager.stdout, size)
        claim = ReaderClaim(str(manager.stdout))
        claim.hold_from(5 << 20)
        look(capping, manager)
        assert manager.job.output.stdout_dropped == 0
        claim.hold_from(200 << 20)
        manager.to_feed = 100 << 20
        look(capping, manager)
        assert manager.job.output.stdout_dropped == 100 << 20
        manager.to_feed = None
        await eventually(lambda: is_punched(manager), "the hole")
        look(capping, manager)
        assert manager.job.output.stdout_dropped == 200 << 20
        # The job ends; its reader does later.
        manager.job.life.is_ended = True  # type: ignore[misc]
        manager.job.output.stdout = size
        capping.finish(manager.job)
        claim.close()
        capping.tick()
        assert manager.table.ended[1].stdout_dropped_bytes >= size - limit

    on_capping(check, tmp_path, DEFAULT_MAX_OUTPUT)

    async def check_full(capping: OutputCap, manager: Manager) -> None:
        monkeypatch.setattr(OutputCap, "_has_room", lambda _: False)
        os.truncate(manager.stdout, size)
        claim = ReaderClaim(str(manager.stdout))
        claim.hold_from(0)
        look(capping, manager)
        claim.close()
        assert manager.job.output.stdout_dropped >= size - limit

    on_capping(check_full, tmp_path / "full", DEFAULT_MAX_OUTPUT)


def test_a_stream_that_grows_fast_is_looked_at_before_the_next_tick(tmp_path: Path) -> None:
    async def check(capping: OutputCap, manager: Manager) -> None:
        capping.watch_from_start(manager.job)
        os.truncate(manager.stdout, 50 << 20)
        await eventually(lambda: (dropped_bytes(str(manager.stdout)) or 0) > 49 << 20, "the first cut")
        os.truncate(manager.stdout, 100 << 20)
        await eventually(lambda: (dropped_bytes(str(manager.stdout)) or 0) > 99 << 20, "the second cut")

    on_capping(check, tmp_path)


def test_the_library_reads_no_gap_where_the_head_goes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "stdout"
    path.write_bytes(b"a" * READ_SIZE + b"b" * READ_SIZE + b"c" * READ_SIZE)
    read = OutputFile.read

    def drop_then_read(file: OutputFile, offset: int, limit: int = READ_SIZE) -> Chunk:
        if offset == READ_SIZE:
            drop(path, 2 * READ_SIZE - 4096)
        return read(file, offset, limit)

    monkeypatch.setattr(OutputFile, "read", drop_then_read)
    assert _read_all(str(path)) == b"b" * 4096 + b"c" * READ_SIZE
