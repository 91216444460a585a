"""The pane Why: evidence, chain and ring, root, what can be done, what was kept of an ended job; it stays in its place."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs

from corral.model.reports import Advice, Diagnosis, Frame, PythonStack, Root, Wait
from corral.protocol.requests import AskWhy
from corral_tui.dashboard.job.chain_text import MOST_LINKS
from corral_tui.dashboard.job.screen import JobScreen
from corral_tui.dashboard.job.why_pane import WhyPane
from corral_tui.dashboard.job.why_text import MOST_ENTRIES, WhyContext, why_lines
from corral_tui.dashboard.paint import lines
from corral_tui.text.charset import ASCII, UNICODE, Charset
from tui.fake_jobs import NOW, ended_job, job, stage
from tui.fake_source import FakeSource
from tui.screens import running, screen_text, shown, until
from tui.settled import assert_settled_snapshot
from tui.test_opened_screen import opened

SINCE = NOW - timedelta(seconds=74)


def wait(pid: int, name: str, kind: str, detail: str, **changes: object) -> Wait:
    made = Wait(pid=pid, name=name, kind=kind, detail=detail, stage=1, since=SINCE)  # type: ignore[arg-type]
    return structs.replace(made, **changes)


def stuck(*waits: Wait, root: int | None = None, **changes: object) -> Diagnosis:
    end = next((each for each in waits if each.pid == root), None)
    made = Diagnosis(
        id="5",
        health="stuck",
        since=SINCE,
        summary="python waits for the lock on /tmp/the.lock",
        root=None if end is None else Root(stage=end.stage, pid=end.pid, kind=end.kind),
        waits=waits,
        advice=(
            Advice("stop it", "corral stop 5"),
            Advice("restart it", "corral restart 5"),
            Advice("attach to its terminal", "corral attach 5"),
            Advice("next time a limit", "corral run --timeout 5m …"),
        ),
    )
    return structs.replace(made, **changes)


LOCK = (
    wait(5409, "python", "file_lock", "waits for the lock on /tmp/the.lock (flock)", on_pid=5392),
    wait(5410, "cat", "pipe_read", "waits to read from pipe 1, which is empty", on_pid=5409, stage=2),
    wait(5392, "python", "socket_read", "waits for data from 10.0.0.2:2049 (fd 5)", stage=None, since=None),
)
RING = (
    wait(5373, "python", "child", "waits for its child 5381", on_pid=5381),
    wait(5381, "python", "pipe_read", "waits to read from the FIFO /tmp/a (fd 3)", on_pid=5382),
    wait(5382, "python", "pipe_read", "waits to read from the FIFO /tmp/b (fd 4)", on_pid=5381),
)
HUNDRED = tuple(wait(6000 + n, "sleep", "timer", "waits for a timer") for n in range(100))


def drawn(found: Diagnosis, width: int = 80, charset: Charset = UNICODE, **changes: object) -> list[str]:
    look = WhyContext(NOW, width, charset, None, {5392: "job 4 holder"})._replace(**changes)
    made = why_lines(found, look)
    assert all(lines.width_of(line) <= width for line in made)
    return [lines.text(line).rstrip() for line in made]


def test_the_chain_leads_across_stages_and_jobs_to_the_root() -> None:
    told = drawn(stuck(*LOCK, root=5409))
    place = told.index(" THE CHAIN")
    assert told[place + 1 : place + 6] == [
        "   5410 cat, stage 2 waits for",
        "   → 5409 python, stage 1 waits for",
        "   → 5392 python, of job 4 holder",
        " ROOT",
        "   5409 python, stage 1: waits for the lock on /tmp/the.lock (flock)",
    ]
    assert "   5409 python   stage 1   file_lock   since 1m14s" in told
    assert "      held by 5392 python, of job 4 holder" in told
    assert "      at its other end: 5409 python, stage 1" in told


@pytest.mark.parametrize("charset", [UNICODE, ASCII])
def test_a_ring_is_drawn_as_one(charset: Charset) -> None:
    told = drawn(stuck(*RING, root=5382, cycle=(5381, 5382)), charset=charset)
    place = told.index(" A RING: EACH WAITS FOR THE NEXT")
    ring = told[place + 1 : place + 7]
    if charset is ASCII:
        assert ring[0] == "   /> 5381 python   stage 1"
        assert all(line.isascii() for line in ring)
    else:
        assert ring == [
            "   ╭▸ 5381 python   stage 1",
            "   │    waits to read from the FIFO /tmp/a (fd 3)",
            "   │    ↓",
            "   │  5382 python   stage 1",
            "   │    waits to read from the FIFO /tmp/b (fd 4)",
            "   ╰── and that waits for 5381 again",
        ]
    assert " THE CHAIN" not in told


def test_a_ring_across_jobs_says_which_job_each_is_of() -> None:
    far = wait(5392, "python", "file_lock", "waits for the lock on /b", on_pid=5409, stage=None)
    told = drawn(stuck(LOCK[0], far, root=5409, cycle=(5409, 5392)))
    place = told.index(" A RING: EACH WAITS FOR THE NEXT")
    assert told[place + 4] == "   │  5392 python   of job 4 holder"


def test_keys_stand_where_a_key_does_it() -> None:
    told = drawn(stuck(*LOCK, root=5409))
    place = told.index(" WHAT YOU CAN DO")
    assert [line[3:4] for line in told[place + 1 : place + 5]] == ["s", "r", "a", " "]
    assert told[place + 1].endswith("corral stop 5")


def test_a_hundred_that_wait_alike_are_one_entry_and_the_root_stands_apart() -> None:
    told = drawn(stuck(*HUNDRED, wait(7000, "sh", "child", "waits for its child", on_pid=6050), root=6050))
    assert "   99 × sleep   stage 1   timer   since 1m14s" in told
    assert "      pids 6000 6001 6002 6003 6004 6005 …" in told
    assert any(line.startswith("   6050 sleep") for line in told)
    assert len(told) < 30


def test_a_tree_of_many_that_differ_is_bounded_and_says_so() -> None:
    many = tuple(wait(6000 + n, "worker", "socket_read", f"waits for data (fd {n})") for n in range(300))
    told = drawn(stuck(*many))
    assert f"   and {300 - MOST_ENTRIES} processes more: corral why --json 5 has them all" in told


def test_a_long_chain_leaves_out_its_middle() -> None:
    many = tuple(
        wait(6000 + n, "cat", "pipe_read", f"waits to read from pipe {n}", on_pid=6001 + n, stage=n + 1)
        for n in range(30)
    )
    told = drawn(stuck(*many, wait(6030, "tar", "disk", "is blocked", stage=31), root=6030))
    place = told.index(" THE CHAIN")
    assert told[place + 5] == f"     … {31 - MOST_LINKS} more, each waiting for the next"
    assert told[place + 9] == "   → 6030 tar, stage 31"


def test_where_python_stands_and_what_was_not_looked_at() -> None:
    stack = PythonStack(
        pid=5409,
        stage=1,
        name="python",
        thread=5409,
        thread_name="MainThread",
        frames=(Frame(file="/srv/\x1b[31mwants.py", line=7, function="main"),),
        left_out=3,
    )
    told = drawn(stuck(*LOCK, root=5409, stacks=(stack,), not_looked_at=("x (1): refused [/]",)))
    place = told.index(" WHERE THE PYTHON CODE STANDS")
    assert told[place + 1 : place + 4] == [
        "   5409 python   stage 1   MainThread",
        "      main  /srv/·[31mwants.py:7",
        "      3 more of Python and its libraries",
    ]
    assert told[-1] == " not looked at: x (1): refused [/]"


@pytest.mark.parametrize("width", [40, 80, 160])
@pytest.mark.parametrize("charset", [UNICODE, ASCII])
def test_hostile_words_fit_any_width_and_are_text(width: int, charset: Charset) -> None:
    nasty = "[/]\x1b]0;t\x07" + "x" * 200
    waits = tuple(structs.replace(each, name=nasty, detail=nasty) for each in RING)
    for found in (
        stuck(*waits, root=5382, cycle=(5381, 5382), summary=nasty, not_looked_at=(nasty,)),
        stuck(*waits, root=5382, advice=(Advice(nasty, nasty),)),
    ):
        assert "\x1b" not in "".join(drawn(found, width, charset))


async def polled(screen: JobScreen) -> None:
    """The daemon has been asked once more."""
    screen.query_one(WhyPane)._due = 0.0
    await screen._poll()


# ---- on the screen --------------------------------------------------------------------------------------------------


def ended_source(tmp_path: Path) -> FakeSource:
    source = FakeSource(
        [ended_job(5, "wants", "stopped", reason="stopped from the dashboard")], home=str(tmp_path)
    )
    kept = stuck(*LOCK, root=5409, taken=NOW - timedelta(seconds=5))
    source.answers[AskWhy] = Diagnosis(
        id="5",
        health=None,
        since=None,
        summary="it was stopped from the dashboard",
        ended=NOW - timedelta(seconds=3),
        kept=kept,
        advice=(Advice("see what it printed", "corral logs 5"), Advice("run it again", "corral restart 5")),
    )
    return source


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_of_an_ended_job_the_kept_diagnosis_is_shown_and_when_it_was_taken(
    size: tuple[int, int], tmp_path: Path
) -> None:
    source = ended_source(tmp_path)
    async with running(source, size) as (app, pilot):
        screen = await opened(app, "5", "why")
        text = await shown(app, lambda text: "EVIDENCE" in text, "the diagnosis")
        assert "It ended 2026-11-22 14:02:08; when it was last" in text
        assert "14:02:06:" in text
        assert "saved diagnosis" in text
        assert "5409 python   stage 1   file_lock   since 1m09s" in text
        await until(lambda: screen.query_one(WhyPane)._was_ended, "the answer")
        await assert_settled_snapshot(app, f"opened_kept_{size[0]}x{size[1]}")
        await pilot.press("y")
        assert "A RING" not in app.clipboard
        assert "→ 5392 python" in app.clipboard
        assert "nothing had moved since" in app.clipboard


async def test_what_was_ended_as_stuck_opens_on_why_and_its_long_reason_leaves_room_in_the_head(
    tmp_path: Path,
) -> None:
    source = ended_source(tmp_path)
    source.change("5", reason="stuck: python waits for the lock " + "on a long path " * 20)
    async with running(source) as (app, _):
        app.open_job("5")
        text = await shown(app, lambda text: "THE CHAIN" in text, "the pane Why")
        assert "python waits for the lock" in text.splitlines()[0]
        assert text.splitlines()[0].endswith("…")


async def test_it_keeps_its_place_while_it_is_asked_again(tmp_path: Path) -> None:
    source = FakeSource([job(5, "wants", health="stuck", health_since=SINCE)], home=str(tmp_path))
    many = tuple(wait(6000 + n, "worker", "socket_read", f"waits for data (fd {n})") for n in range(40))
    source.answers[AskWhy] = stuck(*many)
    async with running(source) as (app, pilot):
        screen = await opened(app, "5", "why")
        pane = screen.query_one(WhyPane)
        await shown(app, lambda text: "EVIDENCE" in text, "the diagnosis")
        await pilot.press("pagedown", "pagedown")
        await until(lambda: pane.body.scroll_offset.y > 20, "the scroll")
        before = pane.body.scroll_offset.y
        source.answers[AskWhy] = stuck(*many, summary="another sentence")
        await polled(screen)
        await pilot.pause()
        assert pane.body.scroll_offset.y == before
        await pilot.press("g")
        await shown(app, lambda text: "another sentence" in text, "the new sentence")


async def test_a_holder_in_another_job_is_named_by_it(tmp_path: Path) -> None:
    holder = job(4, "holder", stages=(stage(1, "python", pid=5392),))
    source = FakeSource([holder, job(5, "wants", health="stuck", health_since=SINCE)], home=str(tmp_path))
    source.answers[AskWhy] = stuck(*LOCK, root=5409)
    async with running(source, (80, 40)) as (app, _):
        await opened(app, "5", "why")
        await shown(app, lambda text: "→ 5392 python, of job 4 holder" in text, "the other job")


async def test_python_stacks_are_asked_for_now_and_then_and_beside_the_rest(tmp_path: Path) -> None:
    source = FakeSource([job(5, "wants", health="stuck", health_since=SINCE)], home=str(tmp_path))
    stack = PythonStack(
        pid=5409, stage=1, name="python", thread=None, thread_name=None, frames=(Frame("w.py", 7, "main"),)
    )

    def answer(request: AskWhy) -> Diagnosis:
        return stuck(*LOCK, root=5409, stacks=(stack,) if request.stacks else ())

    source.answers[AskWhy] = answer
    async with running(source, (80, 50)) as (app, _):
        screen = await opened(app, "5", "why")
        await shown(app, lambda text: "WHERE THE PYTHON CODE STANDS" in text, "the stack")
        await polled(screen)
        await polled(screen)
        assert "WHERE THE PYTHON CODE STANDS" in screen_text(app)
        assert sum(each.stacks for each in source.asked(AskWhy)) == 1
