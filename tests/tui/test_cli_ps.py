"""`corral ps`: two ways to read its options that must agree, and its columns."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from corral.model.job import ENDED_STATES, UNENDED_STATES
from corral.protocol.requests import Jobs, ListJobs
from corral_tui.cli.jobs import ps_list
from corral_tui.cli.verbs import invoke
from corral_tui.main import main
from corral_tui.text.columns import cells, cut, lay_out
from tui.cli_fakes import FakeDaemon, ended_job, fake, make_job

__all__ = ["fake"]

_WORDS = (
    "-a",
    "--all",
    "-q",
    "--quiet",
    "--json",
    "7",
    "build",
    "--state running",
    "--state lost",
    "--health stuck",
    "--sort cpu",
)


def told(options: ps_list.ListOptions | None) -> dict[str, object] | None:
    return None if options is None else vars(options)


def _by_click(words: list[str], monkeypatch: pytest.MonkeyPatch) -> ps_list.ListOptions:
    seen: list[ps_list.ListOptions] = []

    def note(options: ps_list.ListOptions) -> int:
        seen.append(options)
        return 0

    monkeypatch.setattr(ps_list, "list_jobs", note)
    invoke(["ps", *words])
    return seen[0]


def test_the_fast_reading_of_options_is_clicks(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in range(4):
        for chosen in itertools.permutations(_WORDS, size):
            words = " ".join(chosen).split()
            assert told(ps_list.plain_options(words)) == told(_by_click(words, monkeypatch)), words


@pytest.mark.parametrize(
    "words", [["-aq"], ["--state=running"], ["--state", "x"], ["--state"], ["--help"], ["--"], ["-x"], [""]]
)
def test_what_is_not_plain_is_left_to_click(words: list[str]) -> None:
    assert ps_list.plain_options(words) is None


def test_every_option_of_click_is_in_the_fast_table() -> None:
    from corral_tui.cli.jobs.ps import command

    written = {name for option in command.params for name in option.opts if name.startswith("-")}
    assert written == {*ps_list.FLAGS, *ps_list.CHOICES}


def test_the_words_for_states_are_the_protocols() -> None:
    assert set(ps_list.UNENDED) == UNENDED_STATES
    assert set(ps_list.ENDED) == ENDED_STATES


def test_columns_are_two_blanks_apart_and_nothing_is_cut(fake: FakeDaemon, capsys: Any) -> None:
    command = "x" * 300
    fake.answers[ListJobs] = Jobs((make_job(7, name="build", command=command), ended_job(12, exit_status=1)))
    assert main(["ps", "-a"]) == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["ID", "NAME", "STATE", "HEALTH", "EXIT", "CPU%", "MEM", "TIME", "COMMAND"]
    assert first.split() == ["7", "build", "running", "waiting", "-", "0", "2.0M", "4m10s", command]
    assert second.split()[:5] == ["12", "sleep", "succeeded", "-", "1"]
    assert first.index("running") == header.index("STATE") == second.index("succeeded")


@pytest.mark.parametrize(
    ("key", "order"),
    [
        ("id", "7 8 9"),
        ("health", "9 7 8"),
        ("name", "8 9 7"),
        ("cpu", "8 7 9"),
        ("memory", "9 7 8"),
        ("time", "7 9 8"),
    ],
)
def test_jobs_come_in_the_order_asked_for(fake: FakeDaemon, capsys: Any, key: str, order: str) -> None:
    fake.answers[ListJobs] = Jobs(
        (
            make_job(7, name="c", cpu_percent=5.0, memory_bytes=10, elapsed=9.0),
            make_job(8, name="a", health="active", cpu_percent=90.0, memory_bytes=5, elapsed=1.0),
            make_job(9, name="b", health="stuck", cpu_percent=0.0, memory_bytes=99, elapsed=2.0),
        )
    )
    assert main(["ps", "--sort", key, "-q"]) == 0
    assert capsys.readouterr().out.split() == order.split()


def test_a_command_cannot_reach_the_terminal(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[ListJobs] = Jobs((make_job(command="printf \x1b]0;evil\x07\nnext"),))
    assert main(["ps"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert len(out.splitlines()) == 2


def _on_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int = 80) -> None:
    monkeypatch.setattr(ps_list, "width_of", lambda stream: width)
    monkeypatch.setattr(ps_list, "is_terminal", lambda stream: True)


_FAILED = "stage 1: no such program: gzipp"


def test_what_did_not_succeed_has_its_reason(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[ListJobs] = Jobs(
        (
            ended_job(7, state="failed", exit_status=127, reason=_FAILED),
            ended_job(8, state="timed_out", exit_status=124, reason="0.2s"),
            ended_job(9),
        )
    )
    assert main(["ps", "-a"]) == 0
    _, failed, timed_out, succeeded = capsys.readouterr().out.splitlines()
    assert failed.endswith(f"sleep 60  — {_FAILED}")
    assert timed_out.endswith("sleep 60  — after 0.2s")
    assert succeeded.endswith("sleep 60")
    assert main(["ps", "-a", "--json"]) == 0
    assert [job["reason"] for job in json.loads(capsys.readouterr().out)] == [_FAILED, "0.2s", None]


def test_what_is_stuck_says_why_and_needs_no_colour(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[ListJobs] = Jobs(
        (make_job(3, health="stuck", summary="cat waits\x1b[2J for input"), make_job(4, summary="sleeps"))
    )
    assert main(["ps"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  stuck  " in lines[1]
    assert lines[1].endswith("sleep 60  — cat waits for input")
    assert lines[2].endswith("sleep 60")


@pytest.mark.parametrize("width", [20, 80, 200])
def test_on_a_terminal_a_reason_stands_where_there_is_room(
    width: int, fake: FakeDaemon, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _on_a_terminal(monkeypatch, width)
    fake.answers[ListJobs] = Jobs((ended_job(7, state="failed", exit_status=127, reason=_FAILED),))
    assert main(["ps", "-a"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(cells(line) <= width for line in lines)
    assert len(lines) == (2 if width == 200 else 3)
    if width >= 80:
        assert lines[-1].endswith(f"— {_FAILED}")


def test_a_script_as_command(fake: FakeDaemon, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.answers[ListJobs] = Jobs((make_job(command="echo a\necho b\n" + "x" * 200),))
    assert main(["ps"]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert line.endswith("echo a␤echo b␤" + "x" * 200)
    _on_a_terminal(monkeypatch)
    assert main(["ps"]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert line[header.index("COMMAND") :] == "echo a …"


def test_leftovers_are_marked_and_named(
    fake: FakeDaemon, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.answers[ListJobs] = Jobs((ended_job(13, leftovers=2),))
    assert main(["ps", "-a"]) == 0
    assert "succeeded +2 left  -" in capsys.readouterr().out
    fake.answers[ListJobs] = Jobs((), leftovers={"13": 2})
    assert main(["ps"]) == 0
    assert capsys.readouterr().err == ""
    _on_a_terminal(monkeypatch)
    assert main(["ps"]) == 0
    assert capsys.readouterr().err == "corral: 2 processes of ended job 13 live on: corral stop 13\n"
    for words in (["-q"], ["--json"], ["--health", "stuck"]):
        assert main(["ps", *words]) == 0
        assert capsys.readouterr().err == ""


def test_what_the_daemon_tells_the_first_command_is_said(capsys: Any, monkeypatch: Any) -> None:
    fast_list = ps_list.FastList([{"jobs": []}], ["the journal was set aside"])
    monkeypatch.setattr(ps_list, "fast_list", lambda home, ids, **_: fast_list)
    assert main(["ps", "-q"]) == 0
    assert capsys.readouterr() == ("", "corral: the journal was set aside\n")


def test_ids_alone_and_json(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[ListJobs] = Jobs((make_job(7), make_job(8)))
    assert main(["ps", "-q"]) == 0
    assert capsys.readouterr().out == "7\n8\n"
    assert main(["ps", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [job["id"] for job in listed] == ["7", "8"]
    assert listed[0]["from"] is None
    assert listed[0]["exit_status"] is None


def test_states_filter_and_reach_for_the_ended(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[ListJobs] = Jobs((make_job(7), ended_job(8, state="failed", exit_status=1)))
    assert main(["ps", "-q", "--state", "failed"]) == 0
    assert capsys.readouterr().out == "8\n"
    assert fake.asked == [ListJobs(all=True, states=("failed",))]


def test_an_unknown_id_is_said_and_the_others_listed(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[ListJobs] = Jobs(
        (make_job(7),), ("no job 99; corral ps -a lists all", "no job named nope; corral ps -a lists all")
    )
    assert main(["ps", "7", "99", "nope", "-q"]) == 1
    said = capsys.readouterr()
    assert said.out == "7\n"
    assert said.err.splitlines() == [
        "corral: no job 99; corral ps -a lists all",
        "corral: no job named nope; corral ps -a lists all",
    ]


def test_on_a_terminal_lines_end_at_its_edge() -> None:
    rows = [("7", "build", "make -j8 all"), ("12", "日本", "日本語のコマンド")]
    for width in range(1, 30):
        assert all(
            cells(line) <= width for line in lay_out(("ID", "NAME", "COMMAND"), rows, frozenset({0}), width)
        )


def test_a_cut_is_marked() -> None:
    assert cut("build all", 6) == "build…"
    assert cut("日本語", 4) == "日…"
    assert cut("build", 5) == "build"
