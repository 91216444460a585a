"""The other side of a restart in place: the new program takes what the old one left it, and serves on."""

from __future__ import annotations

import os
import socket

import msgspec

from corral.manage.adopting import adopt_all
from corral.manage.handover import FORMAT, Handover, take_back
from corral.manage.manager import Manager
from corral.service.daemon import Report, run
from corral.service.handover import forget_table
from corral.system.daemonlog import log
from corral.system.identity import ProcessIdentity, identify
from corral.values.home import Home


class _Head(msgspec.Struct):
    """The part of a table of any format."""

    format: int
    process: ProcessIdentity


def read_table(home: Home) -> Handover | str:
    """What this process left for its next program, or why that cannot be used. The file is gone afterwards."""
    try:
        descriptor = os.open(home.handover, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            content = file.read()
        forget_table(home)
    except OSError as error:
        return f"{home.handover}: {error.strerror}"
    try:
        head = msgspec.json.decode(content, type=_Head)
        if head.process != identify(os.getpid()):
            return f"{home.handover} was written by another process"
        if head.format != FORMAT:
            return f"{home.handover} has format {head.format}, this program reads {FORMAT}"
        return msgspec.json.decode(content, type=Handover)
    except msgspec.DecodeError as error:
        return f"{home.handover} cannot be read: {error}"


def run_resumed(
    home: Home, report: int, lock: int, listener: int, generation: int, found: Handover | str
) -> int:
    """Serve on. The exit status."""

    def begin(manager: Manager) -> None:
        if isinstance(found, Handover):
            take_back(manager, found)
        adopt_all(manager)
        unended = sum(not job.life.is_ended for job in manager.jobs.values())
        how = (
            "handed over"
            if isinstance(found, Handover)
            else f"taken over as after a crash, without their open stdin: {found}"
        )
        log(f"restarted in place as program number {generation}; jobs {how}: {unended}")

    return run(
        home,
        Report(report),
        lambda daemon: daemon.serve_home(lock, socket.socket(fileno=listener), generation),
        begin=begin,
        is_itself=True,
    )
