"""Why a job failed, by the evidence it left: its last output, its signal, the kernel's log, its last good run."""

from __future__ import annotations

import re
from typing import Protocol

from msgspec.structs import replace

from corral.diagnosis.repeated_output import last_lines
from corral.model.home import Home
from corral.model.job import Job, Stage, State
from corral.model.reports import Detail, Diagnosis
from corral.model.text import one_line
from corral.model.units import format_duration
from corral.platform.host.oom_log import killed_between

LAST_WORDS = 3
"""Lines of the stage's stderr."""
_TAIL = 4096
_LONGEST = 200
_MOST_RUNS = 200
"""Earlier runs of the same command among which the last good one is looked for."""
_MOST_NAMES = 8
OOM_KILLED = "out of memory, the kernel's log says that it killed it"
_OWN_FAULTS = {
    "SEGV": "SIGSEGV: it used memory that is not its own, a bug in the program",
    "BUS": "SIGBUS: it used a mapped file beyond its end, or memory that is not its own",
    "FPE": "SIGFPE: it divided by zero, or the like",
    "ILL": "SIGILL: it was built for another processor, or is damaged",
    "ABRT": "SIGABRT: it gave up by itself; its last words say why",
    "PIPE": "SIGPIPE: it wrote to a pipe or socket that nobody reads any more",
    "XCPU": "SIGXCPU: its limit of CPU time was used up (ulimit -t)",
    "XFSZ": "SIGXFSZ: a file would have become larger than allowed (ulimit -f)",
    "SYS": "SIGSYS: a system call that its sandbox forbids",
}
_CHANGES_ANYHOW = re.compile(
    r"_|SHLVL|PWD|OLDPWD|TMUX.*|STY|WINDOW(ID)?|SSH_.*|XDG_SESSION_ID|TERM_SESSION_ID|CORRAL_.*|COLUMNS|LINES|INVOCATION_ID"
)
"""Variables that differ in every shell, and explain nothing."""


class EarlierRuns(Protocol):
    """The part of the journal that is read here."""

    @property
    def home(self) -> Home: ...

    def detail(self, job: int) -> Detail: ...

    def earlier_runs(
        self, command: str, *, before: int | None = None, limit: int = 8
    ) -> tuple[tuple[str, State, float], ...]: ...


def explain_failure(found: Diagnosis, job: Job, journal: EarlierRuns) -> Diagnosis:
    """The diagnosis of a failed job: its last output added to the summary, and the rest as evidence.

    Raises:
        JournalError: it cannot be read.
    """
    if job.state not in ("failed", "timed_out", "lost") or job.started is None:
        return found
    stage = _decisive(job)
    words = _last_words(journal.home, job, stage)
    evidence = [
        *(f"it said: {line}" for line in words if len(words) > 1),
        *_of_signal(job, stage),
        *_of_last_good_run(job, journal),
    ]
    summary = found.summary
    if job.state == "failed" and OOM_KILLED in evidence:
        summary += f": {OOM_KILLED}"
    elif job.state == "failed" and words:
        summary += f"; it said: {words[-1]}"
    return replace(found, summary=summary, evidence=tuple(evidence))


def _decisive(job: Job) -> Stage | None:
    """The stage that its reason names, else the last one that failed."""
    named = re.match(r"stage (\d+)\b", job.reason or "")
    if named is not None and 1 <= int(named[1]) <= len(job.stages):
        return job.stages[int(named[1]) - 1]
    return next((stage for stage in reversed(job.stages) if stage.state == "failed"), None)


def _last_words(home: Home, job: Job, stage: Stage | None) -> list[str]:
    """The last lines of its stderr; of a job with a terminal of all it printed."""
    if stage is None or stage.pid is None:
        return []
    path = home.stdout(job.id) if job.pty else home.stderr(job.id, stage.number)
    return [line[:_LONGEST] for line in last_lines(path, _TAIL)[-LAST_WORDS:]]


def _of_signal(job: Job, stage: Stage | None) -> list[str]:
    """What the signal means, and what sent it, as far as is known."""
    if stage is None or stage.state != "failed" or " from " in (stage.reason or ""):
        return []
    status = stage.exit_status or 0
    if stage.signal is None and 128 < status < 128 + 65:
        found = [
            f"exit status {status}: in a shell it means that a program was ended by signal {status - 128}"
        ]
        return found + (_oom_evidence(job, stage) if status == 137 else [])
    if stage.signal is None:
        return []
    if stage.signal in _OWN_FAULTS:
        return [_OWN_FAULTS[stage.signal]]
    if job.state == "timed_out" and stage.signal in (job.stop_signal, "KILL"):
        return []  # the stop at its time limit sent it
    if stage.signal == "KILL":
        memory = _oom_evidence(job, stage)
        if memory:
            return memory
    return [f"SIG{stage.signal}: Corral did not send it, and the kernel does not tell who did"]


def _oom_evidence(job: Job, stage: Stage) -> list[str]:
    """Kills for lack of memory in the kernel's log: by pid, or, of the stage's descendants, by time."""
    if stage.started is None or stage.ended is None:
        return []
    killed = killed_between(stage.started, stage.ended)
    if killed is None:
        return ["out of memory? The kernel's log, which would tell, may not be read here (dmesg)"]
    for one in killed:
        if one.pid == stage.pid:
            return [OOM_KILLED]
    return [
        f"out of memory, the kernel's log says that it killed {one_line(one.name)} ({one.pid}) while this ran"
        for one in killed[:LAST_WORDS]
    ]


# ---- what was different ---------------------------------------------------------------------------------------------


def _of_last_good_run(job: Job, journal: EarlierRuns) -> list[str]:
    own = journal.detail(int(job.id))
    runs = journal.earlier_runs(own.job.command, before=int(job.id), limit=_MOST_RUNS)
    good = next((int(run) for run, state, _ in runs if state == "succeeded"), None)
    if good is None:
        return []
    then = journal.detail(good)
    told = [f"the last good run, job {good}, took {_usage_text(then.job)}; this one {_usage_text(job)}"]
    if then.job.cwd != job.cwd:
        told.append(f"it ran in {one_line(then.job.cwd)} then, and in {one_line(job.cwd)} now")
    return told + _changed_variables(then.environment, own.environment)


def _changed_variables(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """Names only: a value may be a secret."""
    if not then or not now:
        return []
    sides = {
        "changed since": [name for name in now if name in then and now[name] != then[name]],
        "new since": [name for name in now if name not in then],
        "gone since": [name for name in then if name not in now],
    }
    told = []
    for how, names in sides.items():
        names = sorted(name for name in names if not _CHANGES_ANYHOW.fullmatch(name))
        if names:
            more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
            told.append(f"variables {how}: {one_line(', '.join(names[:_MOST_NAMES]))}{more}")
    return told


def _usage_text(job: Job) -> str:
    lasted = "an unknown time" if job.elapsed is None else format_duration(round(job.elapsed, 2))
    peak = job.peak_memory_bytes
    return lasted if peak is None else f"{lasted} and {peak / (1 << 20):.0f}M of memory at most"
