"""Deadlocks in a wait graph in which each process waits for any one of several. Pure.

Hundreds of processes may wait at one pipe that all of them have, so what is the same for many is gone through once.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping

Targets = tuple[int, ...]
Key = tuple[int, int]


def deadlocked(targets: Mapping[int, Targets]) -> frozenset[int]:
    """The processes that can never go on: each waits only for others of them. `targets` has only those bound to wait."""
    bound = set(targets)
    waiters, holds = _sides(targets)
    free = [several for several in waiters if not bound.issuperset(several)]
    while free:
        for pid in waiters.pop(free.pop(), ()):
            bound.discard(pid)
            free.extend(several for several in holds.get(pid, ()) if several in waiters)
    return frozenset(bound)


def first_to_move(
    targets: Mapping[int, Targets], nodes: Mapping[int, object], key: Callable[[Targets], Key]
) -> dict[int, int]:
    """For each that waits the one of its targets that will move first.

    `key` of a route, from a waiting process to one that waits for nobody here, is the smaller the sooner it resolves. A
    process whose targets all lead into circles gets the first of them.
    """
    waiters, holds = _sides(targets)
    after: dict[int, int] = {}
    heap = [(key((pid,)), pid) for pid in nodes if not targets.get(pid)]
    heapq.heapify(heap)
    while heap:
        _, reached = heapq.heappop(heap)
        for several in holds.get(reached, ()):
            for pid in waiters.pop(several, ()):
                after[pid] = reached
                heapq.heappush(heap, (key(_route(pid, after)), pid))
    for several, left in waiters.items():
        first = sorted(several)[:2]
        for pid in left:
            after[pid] = next((one for one in first if one != pid), pid)
    return after


def _sides(targets: Mapping[int, Targets]) -> tuple[dict[Targets, list[int]], dict[int, list[Targets]]]:
    """The waiters by what they wait for, and, by process, the target sets that it is in."""
    waiters: dict[Targets, list[int]] = {}
    holds: dict[int, list[Targets]] = {}
    for pid, several in targets.items():
        if not several:
            continue
        if several not in waiters:
            waiters[several] = []
            for one in several:
                holds.setdefault(one, []).append(several)
        waiters[several].append(pid)
    return waiters, holds


def _route(pid: int, after: Mapping[int, int]) -> Targets:
    found = [pid]
    while (following := after.get(found[-1])) is not None:
        found.append(following)
    return tuple(found)
