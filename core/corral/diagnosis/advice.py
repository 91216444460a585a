"""What can be done about a wait, with the exact command for each, and the question that a job asks on its terminal. Pure.

No command ends a process of somebody else: a process outside all jobs is named, and can be looked at.
"""

from __future__ import annotations

import os
import shlex

from corral.diagnosis.wait_chains import Chain, WaitGraph, benign_end
from corral.model.job import Job
from corral.model.reports import Advice
from corral.model.text import one_line
from corral.output import relay_program
from corral.waits.process_wait import ProcessWait

_PASSED_ON = ("pipe_read", "pipe_write", "timer")
"""Waits in which a stage may be the only one at fault, so that the others would end by themselves without it."""


def advice(web: WaitGraph, root: Chain) -> tuple[Advice, ...]:
    """For the chain that explains the job: what is particular to its end first, then what always helps."""
    job, own = web.job, web.last_own(root)
    found = [*(answer_advice(job) if is_asking(job, root.end) else ()), *_of_input(web, root.end)]
    if own.kind == "suspended" and own.state == "T":
        found.append(Advice("let it go on", f"corral resume {job.id}"))
    if own.kind == "tty_input" and not job.pty:
        found.append(Advice("start it again with a terminal", "corral run --pty …"))
    if own.kind == "unknown" and job.pty:
        # For example the password prompt of a set-uid program, whose reads nobody may see.
        found += answer_advice(job, "see what it shows, and type")
    if own.kind == "disk":
        found.append(Advice("see what the kernel says of it", "dmesg | tail"))
    found += [*_of_fifo(own), *_of_others(web, root)]
    if job.health == "stuck" or (job.health != "active" and benign_end(web, root) is not True):
        found += [*_of_stage(web, own), *_in_any_case(web)]
    return tuple(found)


def _of_input(web: WaitGraph, end: ProcessWait) -> list[Advice]:
    """It reads the job's own stdin."""
    job = web.job
    if not web.reads_input(end):
        return []
    if job.stdin == "interactive":
        return [
            Advice("give it a line", f"corral send {job.id} TEXT"),
            Advice("tell it that no more comes", f"corral send --eof {job.id}"),
        ]
    if job.stdin == "job" and job.from_ is not None:
        return [Advice("see why that one prints nothing", f"corral why {job.from_}")]
    return []


def _of_fifo(own: ProcessWait) -> list[Advice]:
    """It waits in open(2) for somebody at the other end of a FIFO, whose path is known."""
    file = own.file
    if file is None or file.kind != "fifo" or file.fd >= 0 or not os.path.isabs(file.name):
        return []
    if not file.name.isprintable():
        return []
    path = shlex.quote(file.name)
    if own.kind == "pipe_read":
        return [Advice("write something to it", f"echo TEXT > {path}")]
    return [Advice("read what it has to say", f"cat {path}")]


def _of_others(web: WaitGraph, root: Chain) -> list[Advice]:
    """The chain leaves the job: another job's process, or one of nobody here."""
    own = web.last_own(root)
    first = next((step for step in root.steps[root.steps.index(own) + 1 :] if web.is_outside(step.pid)), None)
    if first is None:
        return []
    other = web.seen.jobs.get(first.pid)
    if other is None:
        name = one_line(first.name)
        if web.job.output == "pipe" and name == relay_program.WAITING.decode():
            return [Advice("make room where its output goes", "df -h")]
        if web.job.output == "pipe" and name == relay_program.NAME.decode():
            return [Advice(f"let {name} ({first.pid}) go on, which writes its output", f"ps -fp {first.pid}")]
        return [Advice(f"look at {name} ({first.pid}), which is none of Corral's", f"ps -fp {first.pid}")]
    found = [Advice("see why the other job does not go on", f"corral why {other}")]
    if own.kind == "file_lock":
        found.append(Advice("stop the job that holds the lock", f"corral stop {other}"))
    return found


def _of_stage(web: WaitGraph, own: ProcessWait) -> list[Advice]:
    """Its neighbours see the end of their pipes, and what they have done so far is not lost."""
    stage = web.stage_of(own.pid)
    running = [each for each in web.job.stages if each.state == "running"]
    if stage is None or len(running) < 2 or own.kind not in _PASSED_ON:
        return []
    return [Advice(f"end stage {stage} alone", f"corral stop --stage {stage} {web.job.id}")]


def _in_any_case(web: WaitGraph) -> list[Advice]:
    job = web.job
    found = [
        Advice("stop it", f"corral stop {job.id}"),
        Advice("restart it", f"corral restart {job.id}"),
    ]
    if job.timeout is None:
        found.append(Advice("next time a limit", "corral run --timeout 5m …"))
    return found


def is_asking(job: Job, end: ProcessWait) -> bool:
    """Whether what the job waits for is somebody who types on its terminal."""
    return job.pty and end.kind == "tty_input"


def question(job: Job, name: str) -> str:
    where = "screen" if job.full_screen else "terminal"
    return f"{name} waits for somebody to type on its {where}; {attach_hint(job)}"


def attach_hint(job: Job) -> str:
    """What the question ends with."""
    return f"`corral attach {job.id}` {'opens it' if job.full_screen else 'lets you'}"


def answer_advice(job: Job, shows: str = "see what it asks, and type") -> list[Advice]:
    if job.full_screen:
        return [Advice("open it", f"corral attach {job.id}")]
    return [
        Advice(shows, f"corral attach {job.id}"),
        Advice("answer it with a line", f"corral send {job.id} TEXT"),
    ]
