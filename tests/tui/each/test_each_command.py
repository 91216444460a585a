"""From the words of `corral each` to the batch that is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from corral.model.batch import BatchSpec, HaltRule
from corral.model.errors import CannotStartError, NotSoError
from corral.protocol.requests import Fed, FeedBatch, Jobs, ListJobs, StartBatch, Started
from corral_tui.main import main
from tui.cli_fakes import FakeDaemon, fake, make_job

__all__ = ["fake"]


class _Reply:
    def __init__(self, answer: object, readable: int) -> None:
        self._answer = answer
        self._asked = 0
        self._readable = readable

    def fileno(self) -> int:
        return self._readable

    def result(self, timeout: float | None = 0) -> Any:
        """As of a daemon that takes some time."""
        if self._asked < 2:
            self._asked += 1
            return None
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class _Fed:
    """What a daemon was fed."""

    def __init__(self, daemon: FakeDaemon) -> None:
        self.requests: list[FeedBatch] = []
        self.total = 0
        self.left_out = 0
        self.answer: Exception | None = None
        daemon.answers[StartBatch] = Started(("12",))
        daemon.begin = self._begin  # type: ignore[attr-defined]

    def _begin(self, request: FeedBatch, descriptors: Sequence[int] = ()) -> Any:
        if request.before == 0:
            self.requests, self.total = [], 0
        self.requests.append(request)
        assert request.before == self.total
        self.total += len(request.inputs)
        return _Reply(self.answer or Fed(self.total, self.left_out), os.open(os.devnull, os.O_RDONLY))

    @property
    def texts(self) -> list[str]:
        return [one.text for request in self.requests for one in request.inputs]


@pytest.fixture
def fed(fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> _Fed:
    monkeypatch.setattr("corral_tui.cli.each.each.warn_once", lambda home: None)
    return _Fed(fake)


def _spec(fake: FakeDaemon, *words: str) -> BatchSpec:
    assert main(["each", *words, ":::", "x"]) == 0
    (request,) = [request for request in fake.asked if isinstance(request, StartBatch)]
    fake.asked.clear()
    return request.spec


def test_the_id_alone_on_a_line(fed: _Fed, capsys: Any) -> None:
    assert main(["each", "gzip", "-9", ":::", "a", "-n"]) == 0
    assert capsys.readouterr() == ("12\n", "")
    assert fed.texts == ["a", "-n"]
    assert [request.is_last for request in fed.requests] == [True]
    assert main(["each", "-q", "gzip", "-9", ":::"]) == 0
    out, err = capsys.readouterr()
    assert (out, "no input" in err) == ("", True)


def test_json_is_the_batch(fake: FakeDaemon, fed: _Fed, capsys: Any) -> None:
    fake.answers[ListJobs] = Jobs((make_job(12),))
    assert main(["each", "--json", "true", ":::", "a"]) == 0
    assert '"id":"12"' in capsys.readouterr().out.replace(" ", "")


def test_many_inputs_are_sent_a_thousand_at_a_time(fed: _Fed, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("".join(f"{number}\n" for number in range(2500)))
    assert main(["each", "-a", str(path), "true"]) == 0
    assert [len(request.inputs) for request in fed.requests] == [1000, 1000, 500]
    assert [request.is_last for request in fed.requests] == [False, False, True]
    path.write_text("x\n" * 1000)
    assert main(["each", "-a", str(path), "true"]) == 0
    assert [len(request.inputs) for request in fed.requests] == [1000, 0]
    assert [request.is_last for request in fed.requests] == [False, True]
    path.write_text(f"{'x' * 700_000}\n" * 3)
    assert main(["each", "-a", str(path), "true"]) == 0
    assert [len(request.inputs) for request in fed.requests] == [1, 1, 1, 0]


def test_what_was_left_out_is_said(fed: _Fed, capsys: Any) -> None:
    fed.left_out = 2
    assert main(["each", "--resume", "true", ":::", "a", "b", "c"]) == 0
    out, err = capsys.readouterr()
    assert out == "12\n"
    assert err.startswith("corral: 2 inputs have succeeded before")


def test_a_batch_that_was_stopped_takes_no_more(fed: _Fed, capsys: Any) -> None:
    fed.answer = NotSoError("batch 12 has ended")
    assert main(["each", "true", ":::", "a"]) == 0
    assert capsys.readouterr() == ("12\n", "")


def test_the_inputs_before_a_wrong_one_are_sent(fed: _Fed, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"a\nb\nc\0\nd\n")
    assert main(["each", "-a", str(path), "true"]) == 125
    assert fed.texts == ["a", "b"]
    assert not any(request.is_last for request in fed.requests)
    assert "--null" in capsys.readouterr().err


def test_what_no_option_says(fake: FakeDaemon, fed: _Fed) -> None:
    spec = _spec(fake, "gzip -9 {}")
    assert spec.job.pipeline.stages[0].argv == ("gzip", "-9", "{}")
    assert (spec.job.command, spec.template, spec.job.name, spec.job.origin) == (
        "gzip -9 {}",
        "gzip -9 {}",
        None,
        "command_line",
    )
    assert (spec.shell, spec.replace, spec.lines, spec.retries, spec.retry_delay) == (
        False,
        "{}",
        False,
        0,
        1.0,
    )
    assert (spec.halt, spec.timeout_percent, spec.delay, spec.load, spec.memfree) == (
        HaltRule(),
        None,
        0,
        None,
        None,
    )
    assert (spec.resume, spec.joblog, spec.job.timeout) == (False, None, None)
    assert 1 <= spec.jobs <= (os.cpu_count() or 1)


def test_options_of_a_batch(fake: FakeDaemon, fed: _Fed) -> None:
    words = "-j 3 -n enc --retries 2 --retry-delay 3s --halt now,fail=2 --timeout 1m --delay 100ms --load 4 --memfree 2G"
    spec = _spec(fake, *words.split(), "--resume", "--joblog", "log", "-I", "X", "--colsep", ",", "gzip", "X")
    assert (spec.jobs, spec.job.name, spec.retries, spec.retry_delay) == (3, "enc", 2, 3.0)
    assert (spec.halt, spec.job.timeout, spec.timeout_percent) == (HaltRule("now", 2), 60.0, None)
    assert (spec.delay, spec.load, spec.memfree, spec.resume) == (0.1, 4.0, 2 << 30, True)
    assert (spec.joblog, spec.replace, spec.lines) == (os.path.abspath("log"), "X", True)
    spec = _spec(fake, "--timeout", "150%", "--shell", "cd {//} && make")
    assert (spec.job.timeout, spec.timeout_percent, spec.shell) == (None, 150.0, True)
    assert spec.job.pipeline.stages[0].argv == ("/bin/sh", "-c", "cd {//} && make")


def test_text_of_variables_and_files_is_no_word_for_the_input(
    fake: FakeDaemon, fed: _Fed, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "{}").touch()
    line = "A={} x $B {.}/$B {*}"
    assert main(["each", "--dry-run", "-C", str(tmp_path), "-e", "B={}", line, ":::", "f.c"]) == 0
    assert capsys.readouterr() == ("A=f.c x {} f/{} {}\n", "")
    words = _spec(fake, "-N0", "-C", str(tmp_path), "-e", "B={}", "x $B {*}").job.pipeline.stages[0].argv
    assert [word.replace("\0", "") for word in words[:3]] == ["x", "{}", "{}"]


def test_words_of_a_program(fake: FakeDaemon, fed: _Fed) -> None:
    assert _spec(fake, "echo", "a b", "*").job.pipeline.stages[0].argv == ("echo", "a b", "*")
    assert _spec(fake, "--", "a b").job.pipeline.stages[0].argv == ("a b",)
    assert _spec(fake, "echo", "-n", "--", "x").job.pipeline.stages[0].argv == ("echo", "-n", "--", "x")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "COMMAND"),
        (("-n", "enc.3", "true"), "a dot and digits"),
        (("a | b",), "say where the input goes"),
        (("ls *{}",), "column 4"),
        (("ls {}?",), "column 6"),
        (("--shell", 'echo "{}"'), "column 7"),
        (("--shell", "a", "b"), "one word"),
        (("-I", "", "true"), "empty"),
        (("--timeout", "0", "true"), "--timeout"),
        (("--halt", "later", "true"), "--halt"),
        (("-k", "true"), "--wait"),
        (("--tag", "true"), "--wait"),
        (("-N", "-1", "true"), "-N"),
        (("-N", "0", "echo {}"), "{}"),
        (("-a", "/nowhere", "true"), "/nowhere"),
    ],
)
def test_wrong_usage_is_125(words: tuple[str, ...], told: str, fake: FakeDaemon, capsys: Any) -> None:
    assert main(["each", *words, ":::", "x"]) == 125
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert fake.asked == []


def test_a_program_that_is_missing(fake: FakeDaemon, fed: _Fed, capsys: Any) -> None:
    fake.answers[StartBatch] = CannotStartError("no such program: gzap", 127)
    assert main(["each", "gzap", ":::", "x"]) == 127
    assert fed.requests == []
    assert "gzap" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (
            ["gzip -9 {} | tee '{}.x' > {.}.y", ":::", "a b.c", "; rm"],
            ["gzip -9 'a b.c' | tee 'a b.c.x' > 'a b.y'", "gzip -9 '; rm' | tee '; rm.x' > '; rm.y'"],
        ),
        (["echo", ":::", "*", "-n", "--", "x'y"], ["echo '*'", "echo -n", "echo --", "echo 'x'\\''y'"]),
        (["-j2", "echo", "{#}", "{%}", ":::", "a", "b", "c"], ["echo 1 1", "echo 2 2", "echo 3 1"]),
        (["--shell", "cd {//} && make {}", ":::", "a b/c"], ["cd 'a b' && make 'a b/c'"]),
        (["-I", ",,", "echo ,, {} {.}", ":::", "a.b"], ["echo a.b {} a"]),
        (["-I", "{.}", "echo {.} {}", ":::", "a.b"], ["echo a.b {}"]),
        (["-N0", "yes | head", ":::", "1", "2"], ["yes | head"] * 2),
        (["-N0", "--shell", "make", ":::", "1"], ["make "]),
        (["-N0", "echo {#}", ":::", "a", "b"], ["echo 1", "echo 2"]),
        (["-k", "echo", ":::", "1"], ["echo 1"]),
        (["echo", ":::", "a\nb"], ["echo 'a", "b'"]),
    ],
)
def test_a_dry_run_prints_commands_and_starts_none(
    words: list[str], lines: list[str], fake: FakeDaemon, capfdbinary: Any
) -> None:
    assert main(["each", "--dry-run", *words]) == 0
    assert capfdbinary.readouterr() == ("".join(f"{line}\n" for line in lines).encode(), b"")
    assert fake.asked == []


def test_a_dry_run_prints_the_bytes_of_an_input(tmp_path: Path, fake: FakeDaemon, capfdbinary: Any) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"\xff \xc3\xa4\n")
    assert main(["each", "--dry-run", "-a", str(path), "echo"]) == 0
    assert capfdbinary.readouterr().out == b"echo '\xff \xc3\xa4'\n"
