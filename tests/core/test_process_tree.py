from __future__ import annotations

import os
import signal
import subprocess

import pytest

from corral.diagnosis.process_tree import command_of, process_views
from corral.measure.sampler import ProcessSampler
from corral.platform.files.pipes import inode_of
from corral.platform.host.procfs import HAS_PROCFS
from corral.platform.process.identity import ProcessIdentity, identify
from corral.waits.process_wait import short_text, wait_of
from until import ZOO, python, running, until, zoo

LINUX = pytest.mark.skipif(not HAS_PROCFS, reason="told apart by /proc")


def known(pid: int) -> ProcessIdentity:
    identity = identify(pid)
    assert identity is not None
    return identity


def end(identity: ProcessIdentity) -> None:
    if identify(identity.pid) == identity:
        os.kill(identity.pid, signal.SIGKILL)


def test_leader_is_shown_with_what_it_uses_and_does():
    with running("cat", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        assert process.stdin is not None
        leader = known(process.pid)
        until(lambda: (w := wait_of(process.pid)) and w.state == "S", "cat to wait")
        wait, usage = wait_of(process.pid), ProcessSampler().usage(leader)
        assert wait is not None
        assert usage is not None
        (view,) = process_views(
            {leader: 1},
            {1: leader},
            {leader: usage},
            {leader: 12.5},
            {process.pid: short_text(wait, {}, inode_of(process.stdin.fileno()))},
        )
        assert (view.is_leader, view.where, view.stage, view.state) == (True, "leader", 1, "S")
        assert (view.name, view.command, view.cpu_percent) == ("cat", "cat", 12.5)
        assert view.memory_bytes == usage.memory_bytes
        if HAS_PROCFS and wait.kind == "pipe_read":
            assert view.does == "waits for input"


@LINUX
def test_grandchild_in_a_session_of_its_own_is_told():
    with zoo("own_session", start_new_session=True) as (process, said):
        leader, grandchild = known(process.pid), known(int(said))
        child = known(int(parent_of(grandchild.pid)))
        try:
            shown = process_views(dict.fromkeys((grandchild, child, leader), 1), {1: leader}, {}, {}, {})
            assert shown[0].pid == leader.pid
            where = {view.pid: view.where for view in shown}
            assert where == {leader.pid: "leader", child.pid: "child", grandchild.pid: "its own session"}
        finally:
            end(grandchild)
            end(child)


@LINUX
def test_orphan_is_forked_off():
    with zoo("double_fork", start_new_session=True) as (process, said):
        leader, orphan = known(process.pid), known(int(said))
        try:
            until(lambda: parent_of(orphan.pid) != str(process.pid), "the orphan to have another parent")
            shown = process_views({leader: 1, orphan: 1}, {1: leader}, {}, {}, {})
            assert [view.where for view in shown] == ["leader", "its own session, forked off"]
        finally:
            end(orphan)


def parent_of(pid: int) -> str:
    return subprocess.run(
        ["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True
    ).stdout.strip()


def test_stranger_with_a_reused_pid_is_not_shown():
    mine = known(os.getpid())
    assert process_views({ProcessIdentity(mine.pid, mine.started + 1): 1}, {}, {}, {}, {}) == ()


def test_leaders_come_first_by_stage():
    with (
        running("sleep", "30", start_new_session=True) as a,
        running("sleep", "30", start_new_session=True) as b,
    ):
        first, second = known(b.pid), known(a.pid)
        shown = process_views(
            {second: 2, known(os.getpid()): None, first: 1}, {1: first, 2: second}, {}, {}, {}
        )
        assert [view.pid for view in shown] == [b.pid, a.pid, os.getpid()]


@LINUX
def test_command_line_cannot_harm_a_screen():
    with running(
        *python("import sys; sys.stdin.read()"), "\x1b[2J[/]\n\x07", stdin=subprocess.PIPE
    ) as process:
        until(lambda: "import" in command_of(process.pid, "x"), "exec")
        command = command_of(process.pid, "x")
        assert not any(character in command for character in "\x1b\n\x07")
        assert "[/]" in command
    assert command_of(2**22 + 1, "gone\n") == "[gone␤]"


def test_zoo_says_what_each_of_it_does():
    for name in sorted(os.listdir(ZOO)):
        if name.endswith(".py"):
            with open(os.path.join(ZOO, name), encoding="utf-8") as file:
                assert file.read().startswith('"""'), name
