"""The mark: what it is made of, who inherits it, who reads it, who takes it off."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.platform.process import mark
from corral.platform.process.mark import Mark
from until import python, running, until

needs_marks = pytest.mark.skipif(mark.why_not() is not None, reason=f"no marks here: {mark.why_not()}")
NONCE = 0x2BEEF


@given(st.integers(0, (1 << 22) - 1), st.integers(0, (1 << 32) - 1), st.integers(0, 255))
def test_a_mark_is_read_as_it_was_written_and_fits_a_c_long(nonce: int, job: int, stage: int) -> None:
    value = mark.encode(Mark(nonce, job, stage))
    assert 1 << 62 <= value < 1 << 63
    assert mark.decode(value) == Mark(nonce, job, stage)


@pytest.mark.parametrize("value", [-1, 0, 1, (1 << 62) - 1, 1 << 63, (1 << 64) - 1, resource.RLIM_INFINITY])
def test_other_limits_are_no_marks(value: int) -> None:
    assert mark.decode(value) is None


@needs_marks
def test_it_is_worn_around_a_spawn_only_and_inherited_by_whoever_escapes() -> None:
    """Through fork, exec, setsid, a double fork and a cleared environment."""
    code = (
        "import os, time\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "os.execve('/bin/sh', ['sh', '-c', 'echo $$; read x'], {})\n"
    )
    before = resource.getrlimit(mark.RLIMIT_LOCKS)
    worn = Mark(NONCE, 7, 3)
    with mark.applied(worn):
        process = subprocess.Popen(python(code), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert resource.getrlimit(mark.RLIMIT_LOCKS) == before
        assert process.stdin is not None
        assert process.stdout is not None
        escaped = int(process.stdout.readline())
        assert escaped != process.pid
        assert mark.read(escaped) == worn
        assert (escaped, 7, 3) in mark.scan(NONCE)
        assert mark.scan(NONCE + 1) == []
        process.stdin.close()
        until(lambda: not any(pid == escaped for pid, _, _ in mark.scan(NONCE)), "it to end")


@needs_marks
def test_a_failing_spawn_takes_it_off_too() -> None:
    before = resource.getrlimit(mark.RLIMIT_LOCKS)
    with pytest.raises(FileNotFoundError), mark.applied(Mark(NONCE, 1, 1)):
        subprocess.Popen(["/no/such/program"])
    assert resource.getrlimit(mark.RLIMIT_LOCKS) == before
    with mark.applied(None):
        assert resource.getrlimit(mark.RLIMIT_LOCKS) == before


@needs_marks
def test_a_daemon_that_starts_inside_a_job_takes_it_off() -> None:
    code = (
        "import os\nfrom corral.platform.process import mark\n"
        "was = mark.read(os.getpid())\nmark.remove_own()\nprint(was, mark.read(os.getpid()), mark.why_not())"
    )
    with mark.applied(Mark(NONCE, 7, 3)):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.read().decode() == f"{Mark(NONCE, 7, 3)} None None\n"


@needs_marks
def test_a_finite_hard_limit_means_no_marks_and_is_said() -> None:
    code = (
        "import resource\nfrom corral.platform.process import mark\n"
        "resource.setrlimit(mark.RLIMIT_LOCKS, (9, 9))\nprint(mark.why_not())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "hard limit RLIMIT_LOCKS is finite" in said


def test_who_is_gone_has_none() -> None:
    with running(*python("pass")) as process:
        pid = process.pid
    assert mark.read(pid) is None
    assert os.getpid() != pid


@needs_marks
def test_a_mark_that_prlimit_does_not_tell_is_read_from_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a set-gid program: /proc/PID/limits is open to everybody."""

    def refuse(*_: object) -> tuple[int, int]:
        raise PermissionError

    with running(*python("input()"), stdin=subprocess.PIPE) as process:
        pid, worn = process.pid, Mark(NONCE, 7, 3)
        hard = resource.prlimit(pid, mark.RLIMIT_LOCKS)[1]
        for value, carried in ((mark.encode(worn), worn), (hard, None), (mark.APART, None), (9, None)):
            resource.prlimit(pid, mark.RLIMIT_LOCKS, (value, hard))
            with monkeypatch.context() as patched:
                patched.setattr(resource, "prlimit", refuse)
                assert mark.value_of(pid) == value
                assert mark.read(pid) == carried
    with monkeypatch.context() as patched:
        patched.setattr(resource, "prlimit", refuse)
        with pytest.raises(PermissionError):
            mark.value_of(pid)


@needs_marks
def test_a_mark_of_a_stranger_s_process_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody may read it there, and put it on."""

    def refuse(*_: object) -> tuple[int, int]:
        raise PermissionError

    with mark.applied(Mark(NONCE, 7, 3)):
        process = subprocess.Popen(python("input()"), stdin=subprocess.PIPE)
    with process:
        monkeypatch.setattr(resource, "prlimit", refuse)
        for user, is_believed in ((os.getuid(), True), (0, True), (4711, False)):
            monkeypatch.setattr(mark, "users_of", lambda _, user=user: (user, 0))
            if is_believed:
                assert mark.read(process.pid) == Mark(NONCE, 7, 3)
            else:
                with pytest.raises(PermissionError):
                    mark.read(process.pid)


@needs_marks
def test_a_daemon_says_that_it_wears_no_mark_on_purpose() -> None:
    code = "import os\nfrom corral.platform.process import mark\nmark.remove_own()\nprint(mark.value_of(os.getpid()) == mark.APART)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "True\n"
