"""From the words of `corral run` to the job that is asked for."""

from __future__ import annotations

import json
import os
import pty
from pathlib import Path
from typing import Any

import pytest

from corral.model.errors import CannotStartError, UsageError
from corral.model.spec import DescriptorInput, FileInput, InteractiveInput, JobInput, JobSpec, NullInput
from corral.protocol.requests import Jobs, ListJobs, Started, StartJobs
from corral_tui.cli.run.request import RunOptions, prepare
from corral_tui.cli.support.job_environment import job_environment
from corral_tui.main import main
from tui.cli_fakes import FakeDaemon, ended_job, fake, make_job

__all__ = ["fake"]


@pytest.fixture(autouse=True)
def _no_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral_tui.cli.support.logind.warn_once", lambda home: None)


def _spec(fake: FakeDaemon, *words: str) -> JobSpec:
    fake.answers[StartJobs] = Started(("7",))
    assert main(["run", *words]) == 0
    request = fake.asked[-1]
    assert isinstance(request, StartJobs)
    assert request.wait_started
    return request.specs[0]


def _argvs(spec: JobSpec) -> list[tuple[str, ...]]:
    return [command.argv for command in spec.pipeline.stages]


def test_the_id_alone_on_a_line(fake: FakeDaemon, capsys: Any) -> None:
    _spec(fake, "sleep", "1")
    assert capsys.readouterr() == ("7\n", "")
    _spec(fake, "-q", "sleep", "1")
    assert capsys.readouterr() == ("", "")


def test_json_is_the_job(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[ListJobs] = Jobs((make_job(7),))
    _spec_answer = Started(("7",))
    fake.answers[StartJobs] = _spec_answer
    assert main(["run", "--json", "sleep", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "7"


def test_what_no_option_says_comes_from_the_settings(
    fake: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    config = tmp_path / "config.toml"
    monkeypatch.setattr("corral.model.home.config_path", lambda: str(config))

    def asked(text: str, *words: str) -> tuple[float, str]:
        config.write_text(text)
        spec = _spec(fake, *words, "true")
        return spec.stuck_after, spec.on_stuck

    both = '[run]\nstuck_after = "5m"\non_stuck = "stop"\n[clean]\nkeep = 3\n'
    assert asked("", "-q") == (60.0, "mark")
    assert asked(both, "-q") == (300.0, "stop")
    assert asked(both, "-q", "--stuck-after", "7", "--on-stuck", "mark") == (7.0, "mark")
    assert asked("[run]\nstuck_after = 90\n", "-q") == (90.0, "mark")
    assert capsys.readouterr() == ("", "")
    for text, told in (
        (
            '[run]\nstuck_after = "soon"\non_stuck = "stop"\n',
            'stuck_after in [run]: write a duration, such as "5m"',
        ),
        ('[run]\nstuck_after = 0\non_stuck = "stop"\n', "until then it is 60s"),
        (
            '[run]\non_stuck = "stop"\nafter = 3\n',
            "no setting 'after' in [run]; there are on_stuck, stuck_after",
        ),
    ):
        assert asked(text, "-q") == (60.0, "stop")
        said = capsys.readouterr().err
        assert said.startswith(f"corral: {config}: ")
        assert told in said
        assert said.count("\n") == 1
    for text in ("[run\n", "run = 3\n", '[run]\non_stuck = "kill"\n'):
        assert asked(text, "-q") == (60.0, "mark")
        assert str(config) in capsys.readouterr().err


def test_options_end_at_the_first_word(fake: FakeDaemon) -> None:
    assert _argvs(_spec(fake, "ls", "--json", "-q")) == [("ls", "--json", "-q")]
    assert _argvs(_spec(fake, "-n", "x", "ls", "--name", "y")) == [("ls", "--name", "y")]


def test_one_word_is_a_line_and_several_are_an_argv(fake: FakeDaemon) -> None:
    spec = _spec(fake, "a 'b c' | d")
    assert _argvs(spec) == [("a", "b c"), ("d",)]
    assert spec.command == "a 'b c' | d"
    spec = _spec(fake, "a", "b | c")
    assert _argvs(spec) == [("a", "b | c")]
    assert spec.command == "a 'b | c'"


def test_after_two_dashes_it_is_always_an_argv(fake: FakeDaemon) -> None:
    assert _argvs(_spec(fake, "--", "a | b")) == [("a | b",)]
    assert _argvs(_spec(fake, "-q", "--", "--json")) == [("--json",)]
    assert _argvs(_spec(fake, "--", "a", "--", "b")) == [("a", "--", "b")]
    assert _argvs(_spec(fake, "a", "--", "b")) == [("a", "--", "b")]


def test_a_shell_only_when_asked_for(fake: FakeDaemon) -> None:
    assert _argvs(_spec(fake, "--shell", "a && b")) == [("/bin/sh", "-c", "a && b")]


def test_options_reach_the_specification(fake: FakeDaemon) -> None:
    spec = _spec(
        fake, "-n", "dump", "--timeout", "1m30s", "--stop-signal", "sigint", "--grace", "500ms",
        "--stuck-after", "2", "--after", "3", "--after", "build", "true",
    )  # fmt: skip
    assert (spec.name, spec.timeout, spec.stop_signal, spec.stop_grace) == ("dump", 90.0, "INT", 0.5)
    assert (spec.stuck_after, spec.after, spec.origin) == (2.0, ("3", "build"), "command_line")
    assert isinstance(spec.stdin, NullInput)


def test_surroundings_are_ours(fake: FakeDaemon, monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CORRAL_TEST_HERE", "yes")
    (tmp_path / "below").mkdir()
    _spec(fake, "-C", "below", "-e", "CORRAL_TEST_K=v=w", "true")
    request = fake.asked[-1]
    assert isinstance(request, StartJobs)
    assert request.surroundings.cwd == str(tmp_path / "below")
    assert request.surroundings.environment["CORRAL_TEST_HERE"] == "yes"
    assert request.surroundings.environment["CORRAL_TEST_K"] == "v=w"


def test_undecodable_bytes_survive_the_way(fake: FakeDaemon) -> None:
    spec = _spec(fake, "cat", os.fsdecode(b"\xff.txt"))
    assert _argvs(spec) == [("cat", "\U0010feff.txt")]


def test_ways_to_a_stdin(fake: FakeDaemon, monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert _spec(fake, "-C", "/", "--stdin", "f", "cat").stdin == FileInput(str(tmp_path / "f"))
    assert _spec(fake, "-i", "cat").stdin == InteractiveInput()
    assert _spec(fake, "--from", "3", "cat").stdin == JobInput("3")


def test_our_own_descriptor_travels_itself() -> None:
    reader, writer = os.pipe()
    try:
        prepared = prepare(RunOptions(words=("cat",), stdin=f"/dev/fd/{reader}"))
        assert prepared.descriptors == (reader,)
        assert prepared.request.specs[0].stdin == DescriptorInput()
    finally:
        os.close(reader)
        os.close(writer)


def test_a_terminal_and_a_closed_descriptor_are_no_stdin() -> None:
    leader, follower = pty.openpty()
    try:
        with pytest.raises(UsageError, match="terminal"):
            prepare(RunOptions(words=("cat",), stdin=f"/proc/self/fd/{follower}"))
    finally:
        os.close(leader)
        os.close(follower)
    with pytest.raises(UsageError, match="closed"):
        prepare(RunOptions(words=("cat",), stdin=f"/dev/fd/{follower}"))


def test_a_command_that_cannot_start(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[StartJobs] = CannotStartError("no such program: gzipp", 127, "7")
    assert main(["run", "gzipp"]) == 127
    assert capsys.readouterr() == ("", "corral: no such program: gzipp; is it installed, and on PATH?\n")
    fake.answers[ListJobs] = Jobs((ended_job(7, state="failed", exit_status=127),))
    assert main(["run", "--json", "gzipp"]) == 127
    assert json.loads(capsys.readouterr().out)["exit_status"] == 127


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gzipp", "; is it installed, and on PATH?"),
        ("./build", "; is the path right?"),
        ("cd", "; cd is a word of the shell: corral run --shell 'LINE'"),
    ],
)
def test_a_program_that_is_not_there_comes_with_what_to_do(
    name: str, hint: str, fake: FakeDaemon, capsys: Any
) -> None:
    fake.answers[StartJobs] = CannotStartError(f"stage 1: no such program: {name}", 127)
    assert main(["run", name]) == 127
    assert capsys.readouterr().err == f"corral: stage 1: no such program: {name}{hint}\n"


@pytest.mark.parametrize(
    "message", ["stage 1: no such program: the name is empty", "not executable: x; chmod +x lets it run"]
)
def test_other_reasons_say_it_themselves(message: str, fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[StartJobs] = CannotStartError(message, 126)
    assert main(["run", "x"]) == 126
    assert capsys.readouterr().err == f"corral: {message}\n"


def test_environment_files_and_settings(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("CORRAL_TEST_OURS", "ours")
    path = tmp_path / "env"
    path.write_text("# a comment\n\nA=1\nexport B='two words'\nC=\"x=y\"\nD=\nCORRAL_TEST_OURS=theirs\n")
    found = job_environment([str(path)], ["A=9", "CORRAL_TEST_OURS", "E="])
    assert found is not None
    wanted = {"A": "9", "B": "two words", "C": "x=y", "D": "", "E": "", "CORRAL_TEST_OURS": "ours"}
    assert {name: found[name] for name in wanted} == wanted
    assert job_environment([], []) is None


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=plain   # what it is for", "plain"),
        ("A=a#b", "a#b"),
        ("A='a # b'  # c", "a # b"),
        ('A="two\\nlines"', "two\nlines"),
        ("A='as\\n it stands'", "as\\n it stands"),
        ('A="over\ntwo lines"', "over\ntwo lines"),
        ("  export\tA = spaced  ", "spaced"),
        ("A=$HOME/${HOME}", "$HOME/${HOME}"),
        ("A=\r\nB=1\r", ""),
        ("CORRAL_TEST_OURS\nA=x", "x"),
        ("A=\udcff", "\udcff"),
    ],
)
def test_a_file_is_read_as_dotenv_reads_it(line: str, value: str, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("CORRAL_TEST_OURS", "ours")
    path = tmp_path / "env"
    path.write_bytes(b"\xef\xbb\xbf" + line.encode("utf-8", "surrogateescape"))
    found = job_environment([str(path)], [])
    assert found is not None
    assert (found["A"], found["CORRAL_TEST_OURS"]) == (value, "ours")
    assert not [name for name in found if not name.isidentifier()]


@pytest.mark.parametrize(
    "line", ["s3cret", "=s3cret", "a s3cret=1", "\n\ns3cret", "A='s3cret", 'A="s3cret\nB="1"', "A=s3cret\0"]
)
def test_a_wrong_line_is_named_and_its_content_is_not_shown(line: str, tmp_path: Any) -> None:
    path = tmp_path / "env"
    path.write_text(f"A=1\n{line}\n")
    with pytest.raises(UsageError, match=f"line {2 + line.count(chr(10) * 2) * 2}") as caught:
        job_environment([str(path)], [])
    assert "s3cret" not in str(caught.value)


def test_files_and_variables_that_are_not_there(tmp_path: Any) -> None:
    with pytest.raises(UsageError, match="No such file"):
        job_environment([str(tmp_path / "none")], [])
    with pytest.raises(UsageError, match="no variable of this name is set here"):
        job_environment([], ["CORRAL_TEST_NOT_SET_ANYWHERE"])
    with pytest.raises(UsageError, match="NAME=VALUE"):
        job_environment([], ["=x"])
    with pytest.raises(UsageError, match="Is a directory"):
        job_environment([str(tmp_path)], [])
    with pytest.raises(UsageError, match="longer than any environment"):
        job_environment(["/dev/zero"], [])
