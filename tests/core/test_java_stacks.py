"""Where Java programs stand, by a jcmd that is played by a script here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from corral.diagnosis.program_stacks import deadlock_in, java_stacks
from corral.model.reports import Diagnosis, Wait, languages_of
from corral.monitor.java_stacks import JavaStackCapture
from corral.platform.files.hanging_mounts import HangingMounts
from corral.platform.host.procfs import HAS_PROCFS
from corral.platform.inspect import jcmd
from until import running, until

DUMP = """\
42:
2026-11-29 18:00:57
Full thread dump OpenJDK 64-Bit Server VM (17.0.15+6 mixed mode):

"Reference Handler" #2 daemon prio=10 os_prio=0 cpu=0.11ms tid=0x1 nid=0x5c0c waiting on condition  [0x2]
   java.lang.Thread.State: RUNNABLE
\tat java.lang.ref.Reference.waitForReferencePendingList(java.base@17.0.15/Native Method)

"buyer" #13 prio=5 os_prio=0 cpu=0.61ms tid=0x3 nid=0x5e62 waiting for monitor entry  [0x4]
   java.lang.Thread.State: BLOCKED (on object monitor)
\tat shop.Deadlock.take(Deadlock.java:5)
\t- waiting to lock <0xfcffcb78> (a java.lang.Object)
\tat java.lang.Thread.run(java.base@17.0.15/Thread.java:840)

"main" #1 prio=5 os_prio=0 cpu=304.53ms tid=0x5 nid=23504 waiting for monitor entry  [0x6]
   java.lang.Thread.State: BLOCKED (on object monitor)
\tat shop.Deadlock.main(Deadlock.java:9)

JNI global refs: 17, weak refs: 0

Found one Java-level deadlock:
=============================
"main":
  waiting to lock monitor 0x7 (object 0xfcffcb68, a java.lang.Object),
  which is held by "buyer"

"buyer":
  waiting for ownable synchronizer 0x8, (a java.util.concurrent.locks.ReentrantLock$NonfairSync),
  which is held by "main"

Java stack information for the threads listed above:
===================================================
"main":
\tat shop.Deadlock.main(Deadlock.java:9)

Found 1 deadlock.
"""


def test_threads_of_the_program_itself_are_shown():
    main, buyer = java_stacks(DUMP, 42, 1, "java")
    assert (main.thread_name, main.thread, main.language) == ("main", 23504, "java")
    assert [(f.file, f.line, f.function) for f in buyer.frames] == [
        ("Deadlock.java", 5, "shop.Deadlock.take")
    ]
    assert (buyer.thread, buyer.left_out) == (0x5E62, 1)
    assert languages_of((main, buyer)) == "JAVA"


def test_a_deadlock_is_read():
    assert deadlock_in(DUMP) == {"main": "buyer", "buyer": "main"}
    assert deadlock_in(DUMP.partition("Found one")[0]) == {}


@pytest.mark.parametrize("text", ["", "42:\n", '"" #1 x\n', '"a" #1 \n\tat f(g:99999)\n', "\0\ufffd"])
def test_any_other_text_is_no_stack(text):
    assert deadlock_in(text) == {}
    assert isinstance(java_stacks(text, 1, None, "java"), tuple)


def _java(folder: Path) -> Path:
    """Something that is called java, and catches SIGQUIT as Java does, with a jcmd beside it."""
    shutil.copy(shutil.which("bash") or "/bin/bash", folder / "java")
    (folder / "dump").write_text(DUMP)
    (folder / "jcmd").write_text(f"#!/bin/sh\n[ \"$2 $3\" = 'Thread.print -l' ] && cat {folder}/dump\n")
    (folder / "jcmd").chmod(0o755)
    return folder / "java"


async def _asked(pid: int) -> Diagnosis:
    wait = Wait(
        stage=1, pid=pid, name="java", kind="timer", detail="", on_pid=None, on_stage=None, since=None
    )
    found = Diagnosis(id="1", health="active", since=None, summary="java waits", waits=(wait,))
    return await JavaStackCapture(lambda: None, HangingMounts("/")).add_stacks(found, {pid})


@pytest.mark.skipif(not HAS_PROCFS, reason="what may be asked is read from /proc")
async def test_jcmd_is_asked_unless_java_would_end_by_it(tmp_path: Path):
    java = str(_java(tmp_path))
    with running(
        java, "-c", "trap : QUIT; echo; read x", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = await _asked(process.pid)
    assert found.summary == "java has 2 threads, “buyer” and “main”, that wait for each other's locks"
    assert len(found.stacks) == 2
    with running(java, "-c", "echo; read x", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        until(lambda: jcmd.is_java(process.pid), "it to run")
        found = await _asked(process.pid)
        (tmp_path / "jcmd").unlink()
        without = await _asked(process.pid)
    assert found.summary == "java waits"
    assert found.not_looked_at == (
        f"the Java stack of java ({process.pid}): it would end by the signal that asks it (-Xrs)",
    )
    assert without.not_looked_at[0].endswith("there is no jcmd beside its java; it is in a JDK")


def test_what_is_no_java_is_not_asked():
    assert not jcmd.is_java(os.getpid())
    assert jcmd.jcmd_of(os.getpid()) is None


def test_what_java_makes_by_itself_is_left_out():
    made = DUMP.replace(
        "\tat java.lang.Thread.run",
        "\tat shop.D$$Lambda$196/0x0.run(Unknown Source)\n\tat java.lang.Thread.run",
    )
    buyer = java_stacks(made, 42, 1, "java")[1]
    assert ([frame.line for frame in buyer.frames], buyer.left_out) == ([5], 2)
