"""The last lines of a job: read when the files have grown, bounded, colours kept and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corral_tui.dashboard.paint.ansi import OutputLine, output_line
from corral_tui.dashboard.paint.output_tails import KEPT_LINES, Tails
from tui.fake_jobs import ended_job, job, pipeline_job
from tui.fake_source import FakeSource


def texts(lines: list[OutputLine]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def lines_of(source: FakeSource, tails: Tails, job_id: str = "1", count: int = 100) -> list[str]:
    known = source.snapshot.jobs[job_id]
    tails.update([known])
    tail = tails.of(known)
    return texts(tail.last_lines(count)) if tail else []


def test_both_streams_in_the_order_they_were_seen(tmp_path: Path) -> None:
    source = FakeSource([pipeline_job(1, "dump")], home=str(tmp_path))
    tails = Tails(source.home)
    assert lines_of(source, tails) == []
    source.write_output("1", "out 1\n")
    assert lines_of(source, tails) == ["out 1"]
    source.write_output("1", "err 2\n", stderr_of_stage=2)
    assert lines_of(source, tails) == ["out 1", "err 2"]
    source.write_output("1", "out 3\nhalf")
    assert lines_of(source, tails) == ["out 1", "err 2", "out 3", "half"]
    source.write_output("1", " a line\n")
    assert lines_of(source, tails) == ["out 1", "err 2", "out 3", "half a line"]


@pytest.mark.parametrize("stderr_is_newer", [True, False])
def test_the_last_line_is_the_newest_of_both_streams(stderr_is_newer: bool, tmp_path: Path) -> None:
    source = FakeSource([pipeline_job(1, "dump")], home=str(tmp_path))
    source.write_output("1", "out\n")
    source.write_output("1", "err\n", stderr_of_stage=1)
    # Both were there before anybody looked; only the files' own times tell.
    os.utime(source.home.stdout("1"), ns=(0, 5_000))
    os.utime(source.home.stderr("1", 1), ns=(0, 6_000 if stderr_is_newer else 4_000))
    assert lines_of(source, Tails(source.home)) == (["out", "err"] if stderr_is_newer else ["err", "out"])


def test_the_last_line_of_a_failed_job_is_what_it_complained(tmp_path: Path) -> None:
    source = FakeSource([ended_job(1, "dump", "failed")], home=str(tmp_path))
    source.write_output("1", "err\n", stderr_of_stage=1)
    source.write_output("1", "out\nhalf")
    os.utime(source.home.stdout("1"), ns=(0, 6_000))
    os.utime(source.home.stderr("1", 1), ns=(0, 5_000))
    assert lines_of(source, Tails(source.home)) == ["out", "half", "err"]


def test_an_old_unfinished_line_does_not_hide_what_came_later(tmp_path: Path) -> None:
    source = FakeSource([pipeline_job(1, "dump")], home=str(tmp_path))
    tails = Tails(source.home)
    source.write_output("1", "Password: ", stderr_of_stage=1)
    assert lines_of(source, tails) == ["Password: "]
    source.write_output("1", "out 1\nout 2\n")
    assert lines_of(source, tails) == ["out 1", "Password: ", "out 2"]
    tail = tails.of(source.snapshot.jobs["1"])
    assert tail is not None
    assert texts([tail.last_line()]) == ["out 2"]


def test_a_flood_costs_its_last_lines_only(tmp_path: Path) -> None:
    source = FakeSource([job(1, "flood")], home=str(tmp_path))
    tails = Tails(source.home)
    source.write_output("1", "".join(f"line {number}\n" for number in range(100_000)))
    lines = lines_of(source, tails)
    assert lines[-1] == "line 99999"
    assert len(lines) <= KEPT_LINES
    assert all(line.startswith("line ") for line in lines)


def test_one_endless_line_stays_bounded(tmp_path: Path) -> None:
    source = FakeSource([job(1, "long")], home=str(tmp_path))
    tails = Tails(source.home)
    for _ in range(3):
        source.write_output("1", "x" * 100_000)
        assert max(map(len, lines_of(source, tails))) <= 4096


@pytest.mark.parametrize("size", [1000, 3000, 5000, 1 << 20])
def test_a_picture_is_no_wall_of_text(size: int, tmp_path: Path) -> None:
    source = FakeSource([job(1, "plots")], home=str(tmp_path))
    tails = Tails(source.home)
    data = f"begin\n\x1b]1337;File=inline=1:{'aGVsbG8' * 3000}\x07 done\n\x1b_Gf=100;{'aGVsbG8' * 3000}\x1b\\after\n"
    for start in range(0, len(data), size):
        source.write_output("1", data[start : start + size])
        # The end of one that is not over yet may be all that is looked at.
        assert sum(len(line) > 30 for line in lines_of(source, tails)) <= 1
    shown = lines_of(source, tails)
    assert shown[-1] == "after"
    assert not any(len(line) > 30 for line in shown)


def test_a_file_made_shorter_is_read_anew(tmp_path: Path) -> None:
    source = FakeSource([job(1, "a")], home=str(tmp_path))
    tails = Tails(source.home)
    source.write_output("1", "one\ntwo\n")
    assert lines_of(source, tails) == ["one", "two"]
    Path(source.home.stdout("1")).write_text("")
    source.write_output("1", "new\n")
    assert lines_of(source, tails)[-1] == "new"


def test_a_progress_bar_is_its_last_state(tmp_path: Path) -> None:
    source = FakeSource([job(1, "a")], home=str(tmp_path))
    source.write_output("1", "10%\r20%\r30%")
    assert lines_of(source, Tails(source.home)) == ["30%"]


def test_output_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    source = FakeSource([job(1, "a", stdout_bytes=10)], home=str(tmp_path))
    Path(source.home.stdout("1")).mkdir(parents=True)
    tails = Tails(source.home)
    tails.update(source.snapshot.jobs.values())
    tail = tails.of(source.snapshot.jobs["1"])
    assert tail is not None
    assert "its output cannot be read" in (tail.problem or "")


def test_colours_are_kept_and_every_other_sequence_goes() -> None:
    pieces = output_line(
        b"\x1b[1;31mred\x1b[0m \x1b[38;5;200mpink\x1b[48;2;1;2;3m on \x1b[2J\x1b]0;title\x07end"
    )
    assert "".join(text for text, _ in pieces) == "red pink on end"
    style = pieces[0][1]
    assert style.bold
    assert style.color is not None
    assert style.color.number == 1


def test_nonsense_colours_do_not_hurt() -> None:
    for code in ("38", "38;5", "38;5;999", "38;2;1", "38;2;999;1;1", "48;9", "999", "5;8", ";;;"):
        assert "".join(text for text, _ in output_line(f"\x1b[{code}mx".encode())) == "x"
