"""The plan of a cleaning: read from the journal and the files by a thread; `retention_policy` decides what goes."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from operator import itemgetter
from typing import NamedTuple

from msgspec import structs

from corral.journal.reader import JournalReader
from corral.lifecycle.retention_policy import Chosen, EndedJob, choose, choose_asked
from corral.model.home import Home
from corral.model.retention import DAY, CleanReport, CleanRules, OldJob, Rule, RuleShare, StrayFolder
from corral.platform.files.disk_usage import FolderUsage, usage_of

STRAY_SECONDS = DAY
"""How long nothing was written to a folder that no job knows before it is offered for cleaning."""


class CleanRequest(NamedTuple):
    """What is to be cleaned: by the rules, or what a user selects.

    `only` and `folders`, where given, are what a plan had shown: nothing else goes.
    """

    older_than: float | None = None
    keep: int | None = None
    only: tuple[tuple[int, int], ...] | None = None
    folders: tuple[str, ...] | None = None
    is_plan: bool = False
    """The jobs are to be listed."""
    is_by_itself: bool = False
    """The daemon cleans unasked: stray folders stay, and so does what is on a screen."""

    @property
    def is_selection(self) -> bool:
        return self.older_than is not None or self.keep is not None


class Plan(NamedTuple):
    """What goes, oldest first, with the rule that takes it and the size; and what is said of it."""

    going: dict[int, tuple[Rule, int]]
    on: dict[Rule, float | None]
    report: CleanReport

    def shares(self, gone: Container[int]) -> tuple[RuleShare, ...]:
        """What each rule that is on takes of the jobs in `gone`."""
        sizes: dict[Rule, list[int]] = {rule: [] for rule in self.on}
        for job, (rule, size) in self.going.items():
            if job in gone:
                sizes[rule].append(size)
        return tuple(RuleShare(rule, len(each), sum(each), self.on[rule]) for rule, each in sizes.items())


def make_plan(
    home: Home, rules: CleanRules, request: CleanRequest, now: float, needed: Mapping[int, str]
) -> Plan:
    """What goes of the jobs in `home`, oldest first; `now` in seconds since the epoch.

    Raises:
        JournalError: it cannot be read.
        OSError: the list of folders cannot be.
    """
    reader = JournalReader.open(home)
    try:
        jobs = [EndedJob(job, ended, _size_of(home, job)) for job, ended in reader.ends()]
        choice = _chosen(jobs, rules, request, now, needed)
        ids = [job for job in choice.going if request.only is None or _is_within(job, request.only)]
        folders = () if request.is_by_itself or request.is_selection else _strays(home, reader, now, needed)
        titles = reader.titles(ids) if request.is_plan else {}
    finally:
        reader.close()
    if request.folders is not None:
        folders = tuple(folder for folder in folders if folder.name in request.folders)
    known = {job.id: job for job in jobs}
    report = CleanReport(
        jobs=tuple(
            OldJob(job, *titles[job], known[job].ended, known[job].size, choice.going[job])
            for job in ids
            if job in titles
        ),
        folders=folders,
        spared=dict(Counter(needed[job] for job in choice.spared)),
        ended=len(jobs),
        size=sum(job.size for job in jobs),
    )
    plan = Plan({job: (choice.going[job], known[job].size) for job in ids}, _on(rules, request), report)
    return plan._replace(report=structs.replace(report, shares=plan.shares(plan.going)))


def _chosen(
    jobs: Iterable[EndedJob], rules: CleanRules, request: CleanRequest, now: float, needed: Mapping[int, str]
) -> Chosen:
    if request.is_selection:
        return choose_asked(jobs, older_than=request.older_than, keep=request.keep, now=now, needed=needed)
    return choose(jobs, rules, now=now, needed=needed)


def _size_of(home: Home, job_id: int) -> int:
    """0 also where it cannot be read: what is not known to take room does not go for its size."""
    usage = _usage(home, str(job_id))
    return 0 if usage is None else usage.size


def _usage(home: Home, name: str) -> FolderUsage | None:
    try:
        return usage_of(home.job(name))
    except OSError:
        return None


def _is_within(job_id: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    """`ranges` in rising order: the one that begins last before it is the only one that may hold it."""
    index = bisect_right(ranges, job_id, key=itemgetter(0)) - 1
    return index >= 0 and job_id <= ranges[index][1]


def _on(rules: CleanRules, request: CleanRequest) -> dict[Rule, float | None]:
    """The rules that are on, with their limits."""
    if request.is_selection:
        return {"asked": None}
    limits: dict[Rule, float | None] = {
        "age": rules.older_than,
        "number": rules.keep,
        "size": rules.max_size,
    }
    return {rule: limit for rule, limit in limits.items() if limit is not None}


def _strays(
    home: Home, reader: JournalReader, now: float, needed: Mapping[int, str]
) -> tuple[StrayFolder, ...]:
    """Folders that no job has, as a journal that was damaged leaves them. Only such as Corral makes: named by a number."""
    known = reader.ids() | needed.keys()
    names = [name for name in os.listdir(home.jobs) if name.isdecimal() and name.isascii()]
    strays = []
    for name in sorted((name for name in names if int(name) not in known), key=int):
        usage = _usage(home, name)
        if usage is not None and now - usage.touched > STRAY_SECONDS:
            strays.append(StrayFolder(name, usage.touched, usage.size))
    return tuple(strays)
