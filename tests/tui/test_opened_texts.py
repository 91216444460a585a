"""The drawings of an opened job as text: pipelines, trees, charts, the why, and the rows of an output of any size."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs

from corral.model.history import LifePast, RecentHistory
from corral.model.job import Job, Pipe, ProcessView
from corral.model.reports import Advice, Diagnosis, Root, Wait
from corral_tui.dashboard.job.about_text import about_lines
from corral_tui.dashboard.job.charts_text import (
    Series,
    chart_lines,
    laid_out,
    late_series,
    life_series,
    peak_words,
)
from corral_tui.dashboard.job.header import tab_at, tab_line
from corral_tui.dashboard.job.output.rows import MOST_RUNS, QUIET_SECONDS, OutputRows
from corral_tui.dashboard.job.pipeline_text import DrawingContext, StageHistories, draw
from corral_tui.dashboard.job.screen import shared
from corral_tui.dashboard.job.tree_text import in_tree_order, tree_lines
from corral_tui.dashboard.job.why_text import why_as_text
from corral_tui.dashboard.paint import lines
from corral_tui.text.charset import ASCII, UNICODE, Charset
from corral_tui.text.diagnosis_text import time_words
from tui.fake_jobs import NOW, job, pipeline_job, stage


def texts(drawn: list[lines.Line]) -> list[str]:
    return [lines.text(line).rstrip() for line in drawn]


# ---- pipelines ------------------------------------------------------------------------------------------------------


def pipeline_lines(job: Job, histories: StageHistories, width: int, charset: Charset) -> list[lines.Line]:
    """Drawn without a chosen pipe."""
    return draw(job, DrawingContext(histories, width, charset)).lines


def test_a_pipeline_drawn_downwards() -> None:
    drawn = texts(pipeline_lines(pipeline_job(3, "dump"), {1: (1.0,) * 8}, 80, UNICODE))
    assert drawn[0].startswith("   1 pg_dump shop")
    assert "├ pipe 1 ▕████████████████▏ 1.0M of 1.0M FULL" in drawn[2]
    assert drawn[5].startswith(" ◆ 2 gzip -9")
    assert any("the reader is slow" in line for line in drawn)


def test_a_pipeline_drawn_sideways_from_120_columns_on() -> None:
    drawn = texts(pipeline_lines(pipeline_job(3, "dump"), {}, 160, UNICODE))
    assert "╭─ 1 pg_dump shop ─" in drawn[0]
    assert "┏━ 2 gzip -9  ◆ ━" in drawn[0]
    assert "1.0M of 1.0M FULL" in drawn[2]


@pytest.mark.parametrize("width", [40, 80, 160])
def test_an_unknown_share_of_a_core_has_no_unit_in_a_drawing(width: int) -> None:
    shown = job(
        1, "x", stages=(stage(1, "a", ("a",), cpu_percent=None), stage(2, "b", ("b",), cpu_percent=7.0))
    )
    drawn = "\n".join(texts(pipeline_lines(shown, {}, width, UNICODE)))
    assert "cpu     -" in drawn
    assert "cpu  7.0%" in drawn
    assert "-%" not in drawn


@pytest.mark.parametrize("width", [40, 80, 119, 120, 160, 300])
@pytest.mark.parametrize("stages", [1, 2, 3, 4, 5, 12])
@pytest.mark.parametrize("charset", [UNICODE, ASCII])
def test_any_pipeline_fits_any_width(width: int, stages: int, charset: object) -> None:
    argv = ("prog[/]", "\x1b[31m" + "x" * 300)
    pipes = tuple(
        Pipe(number=n, from_stage=n, to_stage=n + 1, fill_bytes=n, capacity_bytes=9) for n in range(1, stages)
    )
    made = tuple(stage(n, "prog[/]", argv, cpu_percent=99.0) for n in range(1, stages + 1))
    shown = job(1, "x", stages=made, pipes=pipes, bottleneck=stages)
    drawn = pipeline_lines(shown, {}, width, charset)  # type: ignore[arg-type]
    assert all(lines.width_of(line) <= width for line in drawn)
    assert "\x1b" not in "".join(texts(drawn))
    assert sum(text.count("prog[/]") for text in texts(drawn)) >= stages


def twelve(**changes: object) -> Job:
    pipes = tuple(
        Pipe(
            number=n,
            from_stage=n,
            to_stage=n + 1,
            fill_bytes=1 << 20,
            capacity_bytes=1 << 20,
            bytes_per_second=45.0 * 2**20,
            bytes_total=25 << 30,
            exact=n % 2 == 0,
            limited_by="reader",
        )
        for n in range(1, 12)
    )
    made = tuple(stage(n, "cat", ("cat",), cpu_percent=2.0) for n in range(1, 13))
    words = "cat holds up the rest: it waits for a timer and its input is full"
    return structs.replace(job(1, "x"), stages=made, pipes=pipes, bottleneck=12, summary=words, **changes)


@pytest.mark.parametrize("charset", [UNICODE, ASCII])
def test_a_long_pipeline_says_first_what_holds_it_up_and_each_pipe_what_limits_it(charset: Charset) -> None:
    for width, rows in ((80, 24), (79, 24), (160, 13)):
        drawn = texts(pipeline_lines(twelve(), {}, width, charset))
        assert (
            drawn[0]
            == f" {charset.bottleneck} cat holds up the rest: it waits for a timer and its input is full"
        )
        assert len(drawn) == rows
        assert sum("reader slow" in line for line in drawn) == 11
        assert sum(charset.bottleneck in line for line in drawn) == 2
        assert charset is UNICODE or all(line.isascii() for line in drawn)


def test_a_number_that_is_only_a_bound_is_marked() -> None:
    drawn = texts(pipeline_lines(twelve(), {}, 80, UNICODE))
    assert "≤45M/s  ≤25G " in drawn[2]
    assert " 45M/s  25G " in drawn[4]
    nothing = structs.replace(
        twelve(), pipes=tuple(structs.replace(p, bytes_total=0) for p in twelve().pipes)
    )
    assert "≤0" not in "".join(texts(pipeline_lines(nothing, {}, 80, UNICODE)))
    assert "<=45M/s  <=25G " in texts(pipeline_lines(twelve(), {}, 80, ASCII))[2]


@pytest.mark.parametrize("width", [40, 80, 160])
def test_a_pipe_is_found_where_it_is_drawn(width: int) -> None:
    for shown in (twelve(), pipeline_job(3, "dump")):
        drawing = draw(shown, DrawingContext({}, width, UNICODE, chosen=2))
        assert list(drawing.spots) == [pipe.number for pipe in shown.pipes]
        for pipe, spot in drawing.spots.items():
            seen = "".join(
                lines.text(line)[spot.x :] for line in drawing.lines[spot.y : spot.y + spot.height]
            )
            assert f"pipe {pipe}" in seen
            assert drawing.pipe_at(spot.x + 1, spot.y) == pipe
        assert "▌" in "".join(texts(drawing.lines))


@pytest.mark.parametrize("width", [80, 160])
def test_an_ended_pipeline_tells_what_went_through_its_pipes(width: int) -> None:
    ended = structs.replace(pipeline_job(3, "dump"), state="succeeded", bottleneck=None)
    ended = structs.replace(
        ended, pipes=tuple(structs.replace(pipe, fill_bytes=None) for pipe in ended.pipes)
    )
    drawn = "\n".join(texts(pipeline_lines(ended, {}, width, UNICODE)))
    assert "74G" in drawn
    assert "went through" in drawn
    assert "fill not known" not in drawn


@pytest.mark.parametrize("charset", [UNICODE, ASCII])
@pytest.mark.parametrize("width", [40, 80, 160])
def test_a_stuck_pipeline_says_so_without_colour(charset: Charset, width: int) -> None:
    stuck = structs.replace(pipeline_job(3, "dump"), health="stuck", bottleneck=None, summary="a b " * 30)
    drawn = texts(pipeline_lines(stuck, {}, width, charset))
    label = "!STUCK!" if charset is ASCII else "▐STUCK▌"
    assert sum(line.startswith(f" {label} a b a b") for line in drawn) == 1
    assert all(lines.width_of(line) <= width for line in pipeline_lines(stuck, {}, width, charset))


def test_an_ended_stage_says_how() -> None:
    ended = stage(1, "sort", state="failed", ended=NOW, signal="SEGV", exit_status=None)
    drawn = "\n".join(texts(pipeline_lines(job(1, "x", stages=(ended,)), {}, 80, UNICODE)))
    assert "✗ by SIGSEGV" in drawn


# ---- trees ----------------------------------------------------------------------------------------------------------


def process(pid: int, parent: int | None = None, **changes: object) -> ProcessView:
    view = ProcessView(pid=pid, name=f"p{pid}", command=f"p{pid} [/]", parent_pid=parent, state="S")
    return structs.replace(view, **changes)


def test_children_stand_below_their_parents() -> None:
    made = [process(5, 1), process(1, is_leader=True), process(9), process(7, 5), process(6, 1)]
    assert [(depth, one.pid) for depth, one in in_tree_order(made)] == [
        (0, 1),
        (1, 5),
        (2, 7),
        (1, 6),
        (0, 9),
    ]


def test_a_feigned_cycle_of_parents_loses_nobody() -> None:
    made = [process(1, 2), process(2, 1), process(3, 3)]
    assert sorted(one.pid for _, one in in_tree_order(made)) == [1, 2, 3]


def test_what_left_the_session_says_so() -> None:
    (row,) = texts(tree_lines([process(4, where="its own session, forked off")], None, 120, UNICODE))
    assert "in its own session, forked off" in row


# ---- charts ---------------------------------------------------------------------------------------------------------


def lived(*cpu: float | None, seconds: float = 5.0, is_over: bool = False) -> list[Series]:
    memory = tuple(None if each is None else int(each) << 20 for each in cpu)
    start = NOW - timedelta(seconds=seconds * len(cpu))
    return life_series(LifePast(seconds=seconds, cpu=cpu, memory=memory), start, is_over=is_over)


def test_a_paused_stretch_is_blank_and_not_zero() -> None:
    top, *_, bottom = texts(chart_lines(lived(100.0, None, 0.0), 26, 12, UNICODE))[1:5]
    assert top == "  100%│██████"
    assert bottom == "     0│██████      ▁▁▁▁▁▁"


def test_the_peak_is_named_with_its_time_and_beside_it_the_value_of_now_or_the_mean() -> None:
    values = (10.0, 780.0, None, 3.0)
    head = texts(chart_lines(lived(*values), 80, 12, UNICODE))[0]
    assert head == "   cpu peak 780% at 14:01:58, now 3.0%"
    head = texts(chart_lines(lived(*values, is_over=True), 80, 12, UNICODE))[0]
    assert head == "   cpu peak 780% at 14:01:58, mean 264%"
    assert peak_words(lived(5.0, None)[0]).endswith("now not measured")
    assert peak_words(lived(5.0)[0]) == "5.0% on average"


def test_all_of_a_life_fills_all_columns_long_or_short() -> None:
    (short, _), (long, memory) = lived(1.0, 2.0), lived(*map(float, range(128)))
    assert laid_out(short, 6) == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
    assert laid_out(long, 64) == [2 * n + 0.5 for n in range(64)]
    # A peak of memory is not lost among its neighbours.
    assert laid_out(memory, 64)[-1] == 127 << 20
    assert len(laid_out(long, 72)) == 72
    assert laid_out(lived(None, None, 4.0, 8.0)[0], 2) == [None, 6.0]


@pytest.mark.parametrize("seconds", [1.0, 5.0, 60.0, 900.0, 7200.0])
@pytest.mark.parametrize("count", [20, 128])
@pytest.mark.parametrize("width", [60, 160])
def test_no_two_times_of_an_axis_read_the_same(seconds: float, count: int, width: int) -> None:
    axis = texts(chart_lines(lived(*[1.0] * count, seconds=seconds), width, 12, UNICODE))[-1]
    times = [time.strip("─") for time in axis.partition("└")[2].split("├")]
    assert len(times) > 2
    assert len(set(times)) == len(times)


@pytest.mark.parametrize("height", [1, 3, 7, 12, 40])
@pytest.mark.parametrize("charset", [UNICODE, ASCII])
def test_charts_keep_to_their_room(height: int, charset: Charset) -> None:
    values = tuple(float(n % 7) for n in range(128))
    past = RecentHistory(
        seconds=5.0, cpu=values, memory=tuple(int(v) for v in values), output=(None, *values)
    )
    every = [*lived(*values), late_series(past, NOW)]
    drawn = chart_lines(every, 60, height, charset)
    assert len(drawn) <= max(height, 2)
    assert all(lines.width_of(line) <= 60 for line in drawn)
    if charset is ASCII:
        assert all(line.isascii() for line in texts(drawn))


def test_seven_rows_are_enough_for_cpu_and_memory() -> None:
    drawn = texts(chart_lines(lived(*map(float, range(40))), 60, 7, UNICODE))
    assert [line.split()[0] for line in drawn if "peak" in line] == ["cpu", "mem"]


def test_charts_of_the_same_time_share_an_axis() -> None:
    values = (1.0,) * 40
    past = RecentHistory(seconds=5.0, cpu=values, memory=(1,) * 40, output=values)
    drawn = texts(chart_lines([*lived(*values, seconds=60.0), late_series(past, NOW)], 80, 20, UNICODE))
    assert sum("└" in line for line in drawn) == 2


# ---- why ------------------------------------------------------------------------------------------------------------


def test_the_why_as_text_for_a_bug_report() -> None:
    wait = Wait(
        stage=1,
        pid=7,
        name="cu[/]rl",
        kind="socket_read",
        detail="tcp to 10.0.0.7:443",
        since=NOW - timedelta(seconds=130),
    )
    found = Diagnosis(
        id="4",
        health="stuck",
        since=NOW - timedelta(seconds=130),
        summary="curl waits for 10.0.0.7:443",
        root=Root(stage=None, pid=None, kind="socket_read"),
        waits=(wait,),
        cycle=(7, 8),
        advice=(Advice("stop it", "corral stop 4"), Advice("look at the server")),
        not_looked_at=("threads: not permitted",),
    )
    text = why_as_text(found, NOW, UNICODE)
    assert text.startswith(" curl waits for 10.0.0.7:443\n")
    for part in (
        " EVIDENCE\n   nothing has moved since 14:00:01",
        "7 cu[/]rl   stage 1   socket_read   since 2m10s\n      tcp to 10.0.0.7:443",
        " A RING: EACH WAITS FOR THE NEXT\n   ╭▸ 7 cu[/]rl   stage 1\n",
        "   ╰── and that waits for 7 again\n",
        " ROOT\n   outside this job: socket_read",
        "corral stop 4",
        "look at the server",
        "not looked at: threads: not permitted",
    ):
        assert part in text


# ---- tabs and rows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("current", [1, 3, 6])
def test_each_tab_is_where_it_is_drawn(width: int, current: int) -> None:
    drawn = lines.text(tab_line(current, width, UNICODE))
    for number in range(1, 7):
        assert tab_at(drawn.index(str(number)), current, width) == number
    assert tab_at(width + 50, current, width) is None


@pytest.mark.parametrize(
    ("wanted", "total", "given"),
    [
        ([5, 5], 20, [5, 15]),
        ([50, 50], 20, [10, 10]),
        ([2, 50, 3], 20, [2, 15, 3]),
        ([], 9, []),
        ([4, 4], 0, [0, 0]),
    ],
)
def test_empty_panes_give_their_room_away(wanted: list[int], total: int, given: list[int]) -> None:
    assert shared(wanted, total) == given


# ---- the rows of an output ------------------------------------------------------------------------------------------


class Files:
    """stdout and the stderr of one stage, which grow."""

    def __init__(self, folder: Path) -> None:
        self.paths = [str(folder / "stdout"), str(folder / "stderr.1")]

    def write(self, number: int, text: bytes) -> None:
        with open(self.paths[number], "ab") as file:
            file.write(text)


def all_rows(rows: OutputRows) -> list[bytes | str]:
    return [note or line for line, note in rows.rows(0, rows.row_count)]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_what_grows_while_one_looks_is_mixed_as_it_came(files: Files) -> None:
    files.write(0, b"one\n")
    files.write(1, b"warning\n")
    rows = OutputRows(files.paths, "both", 0.0)
    rows.update(0.0)
    assert all_rows(rows) == [b"warning", b"one"]
    files.write(1, b"again\n")
    assert rows.update(1.0) == 0
    files.write(0, b"two\nthr")
    rows.update(2.0)
    files.write(0, b"ee\n")
    assert rows.update(3.0) == 4
    assert all_rows(rows) == [b"warning", b"one", b"again", b"two", b"three"]
    rows.show("stdout")
    rows.update(4.0)
    assert all_rows(rows) == [b"one", b"two", b"three"]
    rows.close()


def test_a_long_pause_gets_a_row(files: Files) -> None:
    files.write(0, b"one\n")
    rows = OutputRows(files.paths, "both", 0.0)
    rows.update(0.0)
    files.write(0, b"two\n")
    rows.update(QUIET_SECONDS + 5)
    assert all_rows(rows) == [b"one", "65", b"two"]
    assert rows.line_count == 2
    rows.close()


def test_no_files_yet_are_no_rows(files: Files) -> None:
    rows = OutputRows(files.paths, "both", 0.0)
    assert rows.update(0.0) is None
    assert rows.row_count == 0
    rows.close()


def test_a_file_made_shorter_begins_anew(files: Files) -> None:
    files.write(0, b"one\ntwo\n")
    rows = OutputRows(files.paths, "both", 0.0)
    rows.update(0.0)
    os.truncate(files.paths[0], 0)
    files.write(0, b"new\n")
    assert rows.update(1.0) == 0
    assert all_rows(rows) == [b"new"]
    rows.close()


def test_thousands_of_turns_between_the_streams_stay_bounded(files: Files) -> None:
    rows = OutputRows(files.paths, "both", 0.0)
    for number in range(MOST_RUNS // 2 + 10):
        files.write(0, b"out\n")
        files.write(1, b"err\n")
        rows.update(float(number) / 1000)
    assert len(rows.runs) <= MOST_RUNS
    assert sorted(set(all_rows(rows))) == [b"err", b"out"]  # type: ignore[type-var]
    assert rows.line_count == 2 * (MOST_RUNS // 2 + 10)
    rows.close()


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (80, "waits for room 97 %, runs 3 %"),
        (24, "for room 97 %, runs 3 %"),
        (16, "for room 97 %"),
        (4, "for room 97 %"),
    ],
)
def test_the_time_of_a_stage_takes_the_room_there_is(room: int, expected: str) -> None:
    piped = pipeline_job(3, "dump")
    assert time_words(piped, piped.stages[0], room) == expected


def test_of_a_stage_in_which_nothing_moves_what_it_waits_for_is_told() -> None:
    still = structs.replace(pipeline_job(3, "dump"), health="waiting")
    assert time_words(still, still.stages[0], 80) is None
    assert time_words(pipeline_job(3, "dump"), stage(1, "x", ("x",)), 80) is None


def _about(shown: Job) -> list[str]:
    return texts(about_lines(shown, None, shows_values=False, width=60, charset=UNICODE))


def test_what_a_stage_was_given_stands_beside_the_line() -> None:
    argv = ("cat", *(f"a-rather-long-name-{number}.txt" for number in range(1000)))
    found = _about(job(1, "cat", command="cat *.txt", stages=(stage(1, "cat", argv),)))
    place = next(number for number, line in enumerate(found) if line.startswith(" command"))
    assert found[place].endswith("cat *.txt")
    assert found[place + 1].startswith(" stage 1  cat a-rather-long-name-0.txt")
    assert 3 <= next(number for number, line in enumerate(found[place:]) if line.startswith(" in ")) <= 6
    quoted = _about(job(1, "cat", command='cat "a b"', stages=(stage(1, "cat", ("cat", "a b")),)))
    assert not any("stage 1" in line for line in quoted)
