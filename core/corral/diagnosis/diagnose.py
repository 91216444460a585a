"""Why a job does what it does: one plain sentence, the evidence, the root, and the commands that help. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import pairwise

from msgspec import structs

from corral.commandline.program_name import SHELLS, program_words, wrapper_name
from corral.diagnosis import slowest_stage
from corral.diagnosis.advice import advice, attach_hint, is_asking, question
from corral.diagnosis.wait_chains import Chain, Observations, WaitGraph, background_holder, benign_end
from corral.model.job import Job, Stage
from corral.model.reports import Advice, Diagnosis, Root, Wait
from corral.model.text import one_line
from corral.waits.holders import WaitHolders
from corral.waits.process_wait import ProcessWait

LOCK_KINDS = ("flock", "fcntl", "fcntl, open file description", "lease", "mandatory")
"""As `system.file_locks` names them."""
_CUT = "the disk of its output was full: what it wrote then may be missing"
_SEE_ROOM = Advice("see how much room there is", "df -h")
COMM_LENGTH = 15
"""What the kernel keeps of a program's name (TASK_COMM_LEN in sched.h)."""
LABEL_LENGTH = 24
"""A stage whose command is no longer than that is named with its arguments."""


def diagnose(job: Job, seen: Observations | None = None) -> Diagnosis:
    """The diagnosis of a job in any state. `seen` is needed for one that runs, or is paused or stopping."""
    return diagnose_graph(WaitGraph(job, seen or Observations(())))


def diagnose_graph(web: WaitGraph) -> Diagnosis:
    """The same, from waits that were put together already."""
    job = web.job
    if job.is_ended:
        return _of_ended(job)
    if job.state == "queued":
        reason = job.waiting_for or "its turn"
        sentence = reason if reason.startswith("waits") else f"waits for {reason}"
        return _plain(
            job, f"queued: {sentence}", (Advice("take it from the queue", f"corral stop {job.id}"),)
        )
    chains = web.chains()
    root = _root(web, chains)
    if job.state == "stopping":
        return _evidence(web, root, _stopping(job), (Advice("skip the grace", f"corral kill {job.id}"),))
    if job.state == "paused":
        resume = Advice("let it go on", f"corral resume {job.id}")
        return _evidence(web, root, f"paused; `corral resume {job.id}` lets it go on", (resume,))
    if root is None:
        return _plain(job, "nothing is known of its processes", ())
    if job.disk_full is not None and job.pty:
        sentence = "waits for room on the disk of its output, which is full: free some"
        return _evidence(web, root, sentence, (_SEE_ROOM, Advice("stop it", f"corral stop {job.id}")))
    summary = _summary(web, chains, root) + _left_behind(web, root)
    if job.disk_full is not None:
        summary += f"; {_CUT}"
    return _evidence(web, root, summary, (*slowest_stage.advice(job), *advice(web, root)))


def on_full_disk(job: Job, found: Diagnosis) -> Diagnosis:
    """The same of a job that runs while the disk of its output is full.

    An attached terminal shows what is in the file, and so nothing new before there is room.
    """
    if job.pty and job.disk_full is not None:
        return found  # it waits for nothing else
    said = found.summary.removesuffix(f"; {_CUT}").removesuffix(f"; {attach_hint(job)}")
    lost = "what it prints is not seen before there is room" if job.pty else "what it writes now is lost"
    others = [each for each in found.advice if each.command != f"corral attach {job.id}"]
    summary = f"{said}; the disk of its output is full: {lost}"
    return structs.replace(found, summary=summary, advice=(_SEE_ROOM, *others))


def _plain(job: Job, summary: str, advice: tuple[Advice, ...]) -> Diagnosis:
    return Diagnosis(id=job.id, health=job.health, since=job.health_since, summary=summary, advice=advice)


def _of_ended(job: Job) -> Diagnosis:
    how = {
        "succeeded": "it succeeded",
        "failed": "it failed",
        "stopped": "it was stopped",
        "timed_out": "it ran into its time limit",
        "lost": "nobody knows how it ended",
    }[job.state]
    if job.was_ended_as_stuck:
        how = "it was ended because it was stuck"
    summary = f"{how}: {(job.reason or '').removeprefix('stuck: ')}" if job.reason else how
    if job.disk_full is not None:
        summary += f"; {_CUT}"
    advice = []
    if job.state != "succeeded":
        if job.stdout_bytes or job.stderr_bytes:
            advice.append(Advice("see what it printed", f"corral logs {job.id}"))
        advice.append(Advice("run it again", f"corral restart {job.id}"))
    if job.leftovers:
        count = "1 process of it is" if job.leftovers == 1 else f"{job.leftovers} processes of it are"
        summary += f"; {count} still alive"
        advice.insert(0, Advice("end what is left", f"corral stop {job.id}"))
    return _plain(job, summary, tuple(advice))


def _stopping(job: Job) -> str:
    if job.stopping is None:
        return "it is being stopped"
    stop = job.stopping
    return f"it is being stopped: {stop.signal} was sent, {stop.left} of {stop.total} processes are left"


def _evidence(web: WaitGraph, root: Chain | None, summary: str, helps: tuple[Advice, ...]) -> Diagnosis:
    end = None if root is None else web.last_own(root)
    return Diagnosis(
        id=web.job.id,
        health=web.job.health,
        since=web.job.health_since,
        summary=summary,
        root=None if end is None else Root(stage=web.stage_of(end.pid), pid=end.pid, kind=end.kind),
        waits=tuple(_wait(web, wait) for wait in sorted(_shown(web), key=lambda w: _order(web, w))),
        cycle=() if root is None else root.cycle,
        bottleneck=web.job.bottleneck,
        advice=helps,
        not_looked_at=_not_looked_at(web),
        times=slowest_stage.stage_times(web.job),
    )


def _shown(web: WaitGraph) -> list[ProcessWait]:
    """The job's own processes, and of the others those that one of its chains leads through."""
    on_the_way = {step.pid for pid in web.own for step in web.chain(pid).steps}
    return [wait for pid, wait in web.waits.items() if pid in web.own or pid in on_the_way]


def _order(web: WaitGraph, wait: ProcessWait) -> tuple[bool, int, bool, int]:
    stage = web.stage_of(wait.pid)
    return web.is_outside(wait.pid), stage or 1 << 30, wait.pid not in web.leaders.values(), wait.pid


def _wait(web: WaitGraph, wait: ProcessWait) -> Wait:
    on_pid = web.waited_for(wait)
    return Wait(
        stage=web.stage_of(wait.pid),
        pid=wait.pid,
        name=one_line(wait.name),
        kind=wait.kind,
        detail=_detail(web, wait),
        on_pid=wait.on_pid if on_pid is None else on_pid,
        on_stage=web.stage_at_other_end(wait) if on_pid is None else web.stage_of(on_pid),
        since=web.seen.since.get(wait.pid),
    )


def _detail(web: WaitGraph, wait: ProcessWait) -> str:
    """What it waits for, the job's pipes by their number and what stands in them."""
    number = web.pipe_number(wait)
    if number is not None:
        verb, filled = ("read from", "empty") if wait.kind == "pipe_read" else ("write to", "full")
        return f"waits to {verb} pipe {number}, which is {filled}"
    if web.reads_input(wait):
        return "waits for input"
    held = web.seen.holders.get(wait.pid)
    if held is None:
        return one_line(wait.detail)
    if held.detail is not None:
        return one_line(held.detail)
    return one_line(_with_other_end(web, wait, held))


def _in_words(web: WaitGraph, wait: ProcessWait) -> str:
    """The same for the sentence, without names of system calls and numbers of descriptors: those are evidence."""
    held = web.seen.holders.get(wait.pid)
    is_ours = web.pipe_number(wait) is not None or web.reads_input(wait)
    if held is not None and held.detail is not None and not is_ours:
        detail = _without_asides(held.detail, wait)
        for kind in LOCK_KINDS:
            detail = _put_last(detail, f" ({kind}), which ", ", which ")
        return one_line(detail)
    return _detail(web, wait._replace(detail=_without_asides(wait.detail, wait), call=None))


def _without_asides(detail: str, wait: ProcessWait) -> str:
    call, fd = wait.call, f"fd {wait.fd}"
    for aside in (f" ({fd}, {call})", f" ({call}, {fd})", f" ({call})", f" ({fd})", " (futex)"):
        detail = detail.removesuffix(aside)
    return detail


def _put_last(text: str, old: str, new: str) -> str:
    """With the last `old` replaced: what stands before it may be a name of somebody's choice."""
    head, found, tail = text.rpartition(old)
    return head + new + tail if found else text


def _with_other_end(web: WaitGraph, wait: ProcessWait, held: WaitHolders) -> str:
    """A wait on a pipe that is none between two stages, and who has its other end."""
    others = (pid for pid in held.pids if pid != wait.pid and pid in web.waits)
    if wait.kind == "event_loop":
        names = list(dict.fromkeys(_called(web, pid) for pid in others))
        return f"waits for {' or '.join(names[:3])}{' or others' if len(names) > 3 else ''}{_by(wait)}"
    is_read = wait.kind == "pipe_read"
    other = next(others, None)
    if other is not None:
        return f"{wait.detail} that {_called(web, other)} should {'write' if is_read else 'read'}"
    does = "writes to it" if is_read else "reads it"
    if held.pids == (wait.pid,):
        return f"{wait.detail} of which only it has the other end, so nobody {does}"
    return f"{wait.detail}; nobody {does}" if held.is_complete else wait.detail


def _by(wait: ProcessWait) -> str:
    return f" ({wait.call})" if wait.call else ""


def _called(web: WaitGraph, pid: int) -> str:
    """A process by its name; one that is not of the job with its pid, and with the job that it is of."""
    name = _name(web, web.waits[pid])
    if not web.is_outside(pid):
        return name
    other = web.seen.jobs.get(pid)
    return f"{name} ({pid})" if other is None else f"{name} ({pid}, of job {other})"


def _not_looked_at(web: WaitGraph) -> tuple[str, ...]:
    reasons = {
        f"{one_line(wait.name)} ({wait.pid}): {wait.reason}": None
        for wait in web.waits.values()
        if wait.reason
    }
    for wait in _shown(web):
        if wait.kind == "unknown" and not wait.reason:
            where = f"a wait in {wait.call}" if wait.call else "its wait"
            reasons[f"{one_line(wait.name)} ({wait.pid}): what ends {where} is not known"] = None
    reasons |= dict.fromkeys(web.seen.cuts)
    return tuple(reasons)


def _root(web: WaitGraph, chains: list[Chain]) -> Chain | None:
    """The chain whose end explains the job: the bottleneck's, else by health the one that moves or the one that hangs."""
    if not chains:
        return None
    for chain in chains:
        if web.job.bottleneck is not None and web.stage_of(chain.steps[0].pid) == web.job.bottleneck:
            return chain
    wanted = (False, None, True) if web.job.health == "stuck" else (True, False, None)
    # Of equals the first: upstream is where the cause of a wait for input stands.
    best = min(chains, key=lambda chain: wanted.index(benign_end(web, chain)))
    if best.end.kind != "unknown":
        return best
    # screen(1) waits for a signal, and a server that it has started does the rest.
    others = map(web.chain, sorted(web.own))
    return next((chain for chain in others if is_asking(web.job, chain.end)), best)


def _summary(web: WaitGraph, chains: list[Chain], root: Chain) -> str:
    if root.cycle:
        return _ring(web, root.cycle)
    kept = background_holder(web, root)
    if kept is not None:
        reader = _name(web, root.steps[-2])
        return f"{reader} waits for the end of a pipe that {_name(web, kept)} ({kept.pid}) has inherited and keeps open"
    is_slow = web.job.health != "stuck"
    if is_slow and web.job.bottleneck is not None and web.job.bottleneck in web.leaders:
        return _holding_up(web, root)
    level = slowest_stage.evenly_slow(web.job) if is_slow else ()
    if level:
        return f"no stage holds up the rest: {_label(web.job, level[0])} and {_label(web.job, level[1])} wait least for the others"
    is_outside = web.is_outside(root.end.pid)
    sentence = _led_outside(web, root) if is_outside else _sentence(web, root.end)
    if ";" in sentence and not is_outside:
        return sentence
    waiting = {
        step.pid: step
        for chain in chains
        for step in chain.steps[:-1]
        if chain.end.pid == root.end.pid and not web.is_outside(step.pid)
    }
    waiting.pop(web.last_own(root).pid, None)
    # That a shell waits for what it runs is its trade, and no news.
    waiting = {pid: step for pid, step in waiting.items() if step.kind != "child" and not web.is_outside(pid)}
    if not waiting:
        return sentence
    if len(waiting) == 1:
        other = next(iter(waiting.values()))
        name, own = _name(web, other), web.last_own(root)
        if name == _name(web, own) and sentence.startswith(f"{name} "):
            return f"{name} ({own.pid}){sentence.removeprefix(name)}; {name} ({other.pid}) waits for it"
        return f"{sentence}; {name} waits for it"
    return f"{sentence}; the {len(waiting)} others wait for it"


def _left_behind(web: WaitGraph, root: Chain) -> str:
    """Of a job that goes on, as far as its counters tell: a process of it that hangs all the same, beside those that move.

    GNU parallel looks at its children again and again, and writes a file each time; a shell prints dots.
    """
    if web.job.health == "stuck" or root.cycle or benign_end(web, root) is not True:
        return ""
    spoken = {step.pid for step in root.steps}
    chains = [web.chain(pid) for pid in sorted(web.own) if pid in web.seen.still and pid not in spoken]
    hanging = {
        chain.end.pid: chain
        for chain in chains
        if not spoken.intersection(step.pid for step in chain.steps) and benign_end(web, chain) is False
    }
    if not hanging:
        return ""
    first = next(iter(hanging.values()))
    own = web.last_own(first)
    what = _ring(web, first.cycle) if first.cycle else _sentence(web, own)
    others = f", and {len(hanging) - 1} more hang" if len(hanging) > 1 else ""
    return f"; but {what}, still for {web.seen.still.get(own.pid, 0.0):.0f} s{others}"


def _ring(web: WaitGraph, cycle: tuple[int, ...]) -> str:
    """Processes that wait for each other, and what each waits for. Some give up after a time, such as connect(2)."""
    is_final = all(pid in web.knot for pid in cycle)
    if len(cycle) == 1:
        wait = web.waits[cycle[0]]
        return f"{_called(web, wait.pid)} {_in_words(web, wait)}{'; that can never end' if is_final else ''}"
    called = {pid: _called(web, pid) for pid in cycle}
    if len(set(called.values())) < len(called):
        called = {pid: name if web.is_outside(pid) else f"{name} ({pid})" for pid, name in called.items()}
    names = " and ".join(called.values())
    each = "; ".join(f"{called[pid]} {_in_words(web, web.waits[pid])}" for pid in cycle[:2])
    return f"{names} wait for each other{', which can never end' if is_final else ''}: {each}"


def _led_outside(web: WaitGraph, root: Chain) -> str:
    """The chain ends at a process that is not of the job: what the last own one waits for, and what that end does.

    Where there are locks on the way, those are said, and what the last one does who holds such a lock.
    """
    own = web.last_own(root)
    beyond = root.steps[root.steps.index(own) :]
    behind_lock = [after for step, after in pairwise(beyond) if step.kind == "file_lock"]
    telling = [step for step in beyond[1:] if step.kind == "file_lock" or step in behind_lock]
    if not telling:
        return _passed_on(web, own, beyond[1:])
    said, detail = [_name(web, own)], _in_words(web, own)
    for step in telling:
        who, named = _called(web, step.pid), f"{step.pid} ({one_line(step.name)})"
        is_named = named in detail
        said[-1] += f" {_put_last(detail, named, who) if is_named else detail}"
        said.append("that one" if is_named else who)
        detail = _state(web, step)
    return "; ".join(said) + f" {detail}"


def _passed_on(web: WaitGraph, own: ProcessWait, beyond: Sequence[ProcessWait]) -> str:
    """What it waits for, and from there from one to the next what the last one does."""
    name, detail = _name(web, own), _in_words(web, own)
    first, *rest = beyond
    who = _called(web, first.pid)
    named = f"{first.pid} ({one_line(first.name)})"
    if named in detail:
        detail, who = _put_last(detail, named, who), "that one"
    does = "".join(f"waits for {_called(web, step.pid)}, which " for step in rest)
    return f"{name} {detail}; {who} {does}{_state(web, beyond[-1])}"


def _holding_up(web: WaitGraph, root: Chain) -> str:
    """`gzip -9 holds up the rest: it runs 97 % of the time`."""
    stage = next(stage for stage in web.job.stages if stage.number == web.job.bottleneck)
    end, own = root.end, root.steps[0]
    if end.pid == own.pid or end.name == stage.name[:COMM_LENGTH]:
        does = _state(web, end)
    else:
        does = f"waits for {_name(web, end)}, which {_state(web, end)}"
    is_at_pipes = web.pipe_number(own) is not None or own.kind == "zombie"
    return f"{_label(web.job, stage)} holds up the rest: it {slowest_stage.in_words(stage, None if is_at_pipes else does)}"


def _sentence(web: WaitGraph, end: ProcessWait) -> str:
    """What the end of a chain does, and the one command that changes it."""
    name, job = _name(web, end), web.job
    if end.kind == "running":
        return f"{name} is busy"
    if end.kind == "timer" and job.health == "stuck":
        return f"{name} sleeps and does not read its input"
    if end.kind == "suspended" and end.state == "T":
        return f"{name} was stopped by a signal; `corral resume {job.id}` lets it go on"
    if is_asking(job, end):
        return question(job, name)
    if web.reads_input(end):
        if job.stdin == "job" and job.from_ is not None:
            return f"{name} waits for the output of job {job.from_}"
        return f"{name} waits for input; only `corral send {job.id}` gives it some"
    if end.kind == "pipe_read" and end.fd == 0 and job.stdin == "descriptor" and web.stage_of(end.pid) == 1:
        return f"{name} waits for input from where the job was started"
    stage = web.stage_at_other_end(end)
    if stage is not None:
        return f"{name} {_in_words(web, end)}; no process of stage {stage} was found"
    return f"{name} {_in_words(web, end)}"


def _state(web: WaitGraph, wait: ProcessWait) -> str:
    return "is busy" if wait.kind == "running" else _in_words(web, wait)


def _name(web: WaitGraph, wait: ProcessWait) -> str:
    for stage in web.job.stages:
        if stage.pid == wait.pid:
            if _has_become(stage, wait.name):
                return _told_apart(web.job, stage, wait.name)
            wrapper = wrapper_name(stage.argv)
            # timeout(1), sudo(8) and others stay, and wait for the program that the stage is called by.
            is_wrapper = wrapper != stage.name and wait.name == wrapper[:COMM_LENGTH]
            return _told_apart(web.job, stage, wrapper if is_wrapper else stage.name)
    return one_line(wait.name)


def _has_become(stage: Stage, live: str) -> bool:
    """Whether what was started has become another program of its words by exec(2): setpriv, unshare, a script of a shell."""
    started = wrapper_name(stage.argv)
    if live in (started[:COMM_LENGTH], stage.name[:COMM_LENGTH]):
        return False
    if started in SHELLS:
        return stage.name == started
    return any(wrapper_name((word,))[:COMM_LENGTH] == live for word in stage.argv[1:])


def _label(job: Job, stage: Stage) -> str:
    """`gzip -9`, or the program alone where the whole is long."""
    words = (stage.name, *(shlex.quote(word) for word in program_words(stage.argv)[1:]))
    whole = one_line(" ".join(words))
    return _told_apart(job, stage, whole if len(whole) <= LABEL_LENGTH else stage.name)


def _told_apart(job: Job, stage: Stage, words: str) -> str:
    """With its number where another stage is called the same."""
    is_one_of_several = sum(each.name == stage.name for each in job.stages) > 1
    return one_line(f"{words} (stage {stage.number})" if is_one_of_several else words)
