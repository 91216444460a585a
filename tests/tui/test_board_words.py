"""The words of drawings and panels: what a wrapper starts, how a job ended, which keys stand beside the sentence."""

from __future__ import annotations

import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from corral.model.job import ProcessView
from corral.protocol.requests import StopJobs
from corral_tui.dashboard.action_handlers import summary_of
from corral_tui.dashboard.dialogs.stop import StopDialog
from corral_tui.dashboard.frame.actions import ACTIONS, Context, action
from corral_tui.dashboard.help import help_lines
from corral_tui.dashboard.job.tree_text import tree_lines
from corral_tui.dashboard.paint.job_words import end_reason
from corral_tui.dashboard.paint.lines import text
from corral_tui.dashboard.prompt.prompt import PromptDialog
from corral_tui.settings.dashboard import Settings
from corral_tui.text.charset import UNICODE
from tui.fake_jobs import NOW, ended_job, job, pipeline_job, stage, stuck_job
from tui.fake_source import FakeSource
from tui.screens import running, screen_text, shown, until


def test_the_tree_names_what_an_interpreter_runs() -> None:
    tree = (
        ProcessView(
            pid=5, name="python3", command="/usr/bin/python3 -m http.server", stage=1, is_leader=True
        ),
        ProcessView(pid=6, name="timeout", command="timeout 5 sleep 9", parent_pid=5),
    )
    first, second = (text(line) for line in tree_lines(tree, None, 80, UNICODE))
    assert "1 server" in first
    assert "timeout" in second


# ---- how a job ended --------------------------------------------------------------------------------------------------


def test_a_time_limit_is_a_reason_in_words() -> None:
    late = ended_job(1, "late", "timed_out", reason="0.2s")
    assert end_reason(late) == "timed out after 0.2s"
    assert end_reason(late, is_behind_status=True) == "after 0.2s"
    explained = ended_job(1, "late", "timed_out", reason="as expected: timed out by TERM")
    assert end_reason(explained) == "as expected: timed out by TERM"
    assert end_reason(ended_job(1, "late", "timed_out")) == "its time was over"
    assert end_reason(ended_job(1, "well")) is None
    hung = ended_job(1, "hung", "stopped", reason="stuck: cat waits for input")
    assert end_reason(hung) == "stuck: cat waits for input"
    assert end_reason(hung, is_behind_status=True) == "cat waits for input"


def test_the_copied_summary_counts_the_time_that_a_running_job_runs_now() -> None:
    old = job(1, "train", ago=7380, elapsed=3.0)
    assert "time: 2h03m" in summary_of(old, NOW)
    assert "reason: timed out after 5m" in summary_of(ended_job(2, "x", "timed_out", reason="5m"), NOW)


async def test_a_panel_of_three_rows_says_nothing_twice(tmp_path: Path) -> None:
    jobs = [
        ended_job(1, "bad", "failed", command="false --now", reason="stage 1 (false) exited with 1"),
        ended_job(2, "loud", "failed", command="make all", reason="stage 1 (make) exited with 1"),
        ended_job(3, "late", "timed_out", command="sleep 10", reason="0.2s"),
        *[job(number, "sleep", command="sleep 100") for number in range(4, 7)],
    ]
    source = FakeSource(jobs, home=str(tmp_path))
    source.write_output("2", "make: *** No rule to make target [/]\n", stderr_of_stage=1)
    async with running(source) as (app, _):
        rows = [line.strip() for line in screen_text(app).splitlines()]
        assert rows[3:5] == ["false --now", "stage 1 (false) exited with 1"]
        assert rows[6:8] == ["make all", "make: *** No rule to make target [/]"]
        assert rows[9:11] == ["sleep 10", "timed out after 0.2s"]


async def test_the_table_has_room_for_every_status(tmp_path: Path) -> None:
    states = ("succeeded", "failed", "timed_out", "lost", "stopped")
    source = FakeSource(
        [ended_job(number, "x", state, reason="0.2s") for number, state in enumerate(states, 1)],
        home=str(tmp_path),
    )
    async with running(source, settings=Settings(view="table")) as (app, pilot):
        source.put(job(9, "on"))
        await pilot.press("e")
        drawn = await shown(app, lambda text: "succeeded" in text, "those that ended well")
        assert "✗ timed out " in drawn
        assert "after 0.2s" in drawn
        assert "timed out after" not in drawn.partition("LAST LINE")[2]
        await pilot.resize_terminal(40, 12)
        drawn = await shown(app, lambda text: "✗ timeout" in text, "the narrow words")
        assert "✓ well" in drawn


# ---- the keys beside the sentence --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(160, 50), (80, 24), (40, 12)])
async def test_keys_that_act_on_the_selected_job_stand_only_beside_that_job(
    size: tuple[int, int], tmp_path: Path
) -> None:
    source = FakeSource(
        [job(1, "a"), stuck_job(23, "ask", "cat waits"), stuck_job(24, "b", "cat waits", since=3)],
        home=str(tmp_path),
    )
    async with running(source, size) as (app, pilot):
        line = screen_text(app).splitlines()[1]
        assert "23 ask" in line
        assert {"w", "s", "!"} <= set(line.split())
        await pilot.press("g")
        line = screen_text(app).splitlines()[1]
        assert "23 ask" in line
        assert "!" in line.split()
        assert not {"w", "s", "stop"} & set(line.split())
        assert "s  stop it" not in screen_text(app)


async def test_a_prompt_with_nothing_in_it_says_what_to_do(tmp_path: Path) -> None:
    async with running(FakeSource([job(1, "a")], home=str(tmp_path))) as (app, pilot):
        await pilot.press("n")
        await until(lambda: isinstance(app.dialog, PromptDialog), "the prompt")
        drawn = await shown(app, lambda text: "type a command" in text, "what to do")
        assert "fix it first" not in drawn


def test_attaching_says_why_not() -> None:
    source = FakeSource([job(1, "a"), job(2, "b", stdin="interactive"), job(3, "c", pty=True)])
    attach = action("job.attach")
    said = attach.refusal(Context(source.snapshot, source.snapshot.jobs["1"]))
    assert said == "1 a has no terminal; start it with corral run --pty, or with pty in the prompt (n)"
    assert attach.refusal(Context(source.snapshot, source.snapshot.jobs["2"])) is None
    assert attach.refusal(Context(source.snapshot, source.snapshot.jobs["3"])) is None


# ---- stopping several, and leaving -------------------------------------------------------------------------------------


async def test_marked_jobs_that_the_filter_hides_are_named_before_they_are_stopped(tmp_path: Path) -> None:
    source = FakeSource([job(1, "red"), job(2, "blue")], home=str(tmp_path))
    async with running(source) as (app, pilot):
        await pilot.press("g", "space", "j", "space", "slash", *"red", "enter", "s")
        await until(lambda: isinstance(app.dialog, StopDialog), "the question")
        await shown(app, lambda text: "1 of them is hidden by the filter: 2 blue" in text, "the hidden one")
        assert not source.asked(StopJobs)


def test_where_the_jobs_end_with_the_dashboard_nothing_says_that_they_go_on() -> None:
    (leave,) = [each for each in ACTIONS if each.id == "app.leave"]
    assert "go on" in leave.words(is_private=False)
    for is_private in (False, True):
        drawn = "\n".join(text(line) for line in help_lines("board", UNICODE, is_private=is_private))
        assert ("jobs go on" in drawn) is not is_private


async def test_the_hints_of_a_private_daemon_do_not_promise_that_jobs_go_on(tmp_path: Path) -> None:
    source = FakeSource([job(1, "a")], home=str(tmp_path))
    source.is_private = True
    async with running(source, (160, 50)) as (app, pilot):
        assert "leaves, ends the jobs" in screen_text(app)
        source.trouble("daemon gone, retrying 3s")
        drawn = await shown(app, lambda text: "daemon gone" in text, "the trouble")
        assert "go on" not in drawn
        await pilot.press("ctrl+c")
        assert "jobs go on" not in screen_text(app)


async def test_the_remembered_view_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "dashboard.toml"
    before = os.umask(0)
    try:
        assert Settings(state_file=str(path)).pin("table") is None
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_drawing_names_the_wrapped_program(tmp_path: Path) -> None:
    nice = pipeline_job(
        1,
        "x",
        stages=(
            stage(1, "gzip", ("nice", "-n", "19", "gzip", "-9"), cpu_percent=99.0),
            stage(2, "store", ("python3", "-m", "app.store"), cpu_percent=1.0),
            stage(3, "sort", ("env", "A=1", "sort"), cpu_percent=1.0),
        ),
        bottleneck=1,
        summary=None,
        started=NOW - timedelta(seconds=5),
    )
    async with running(FakeSource([nice], home=str(tmp_path)), (160, 50)) as (app, _):
        drawn = screen_text(app)
        assert "gzip -9 ◆" in drawn
        assert "store" in drawn
        assert "nice -n" not in drawn


async def test_after_a_suspension_the_whole_screen_is_painted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(FakeSource([job(1, "a")], home=str(tmp_path))) as (app, _):
        painted: list[dict[str, bool]] = []
        with monkeypatch.context() as patched:
            patched.setattr(app.screen, "refresh", lambda *_, **how: painted.append(how))
            app._resume_signal()
            await until(lambda: {"layout": True} in painted, "the screen to be painted")


async def test_a_job_that_ended_well_shows_its_last_words(tmp_path: Path) -> None:
    ended = ended_job(1, "sum", command="sha256sum")
    source = FakeSource([ended, *[job(number, "x") for number in range(2, 7)]], home=str(tmp_path))
    source.write_output("1", "da39a3ee  -\n")
    async with running(source) as (app, pilot):
        await pilot.press("e")
        drawn = await shown(app, lambda text: "da39a3ee" in text, "what it printed")
        assert "sha256sum" in drawn


def test_an_interpreter_stands_without_its_path() -> None:
    tree = (ProcessView(pid=5, name="python3", command="/opt/long/bin/python3 -m x [/]", is_leader=True),)
    assert "/opt" not in text(tree_lines(tree, None, 140, UNICODE)[0])


async def test_a_waiting_job_without_output_says_what_it_waits_for(tmp_path: Path) -> None:
    source = FakeSource(
        [job(1, "a", health="waiting", summary="sleep waits for a timer")], home=str(tmp_path)
    )
    async with running(source) as (app, _):
        app.open_job("1")
        await shown(app, lambda text: "nothing printed yet; sleep waits for a timer" in text, "the words")
