"""The tools that are compared, each a table of its own commands: start, stop, who is the manager, start again, list.

In commands and files these are filled in: `{folder}`, the place of one tool with one job; the job as a line for a shell
(`{line}`), as one quoted argv (`{words}`), as a list (`{json}`), and its first word and the others (`{first}`, `{rest}`).
"""

from __future__ import annotations

import functools
import json
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from isolated import Place, listener, search_path, send

Command = tuple[str, ...]
JOB = "job"


@dataclass(frozen=True)
class Work:
    """What is run: one command, or several joined by pipes."""

    commands: tuple[Command, ...]

    @property
    def line(self) -> str:
        return " | ".join(shlex.join(command) for command in self.commands)

    @property
    def argv(self) -> Command:
        return self.commands[0] if len(self.commands) == 1 else ("sh", "-c", self.line)


@dataclass(frozen=True)
class Tool:
    """`foreground`: its manager stays where it was started; else the commands of `start` bring one up in the background."""

    name: str
    program: str
    version: Command
    stop: Command | signal.Signals | bytes
    """A command, a signal to the manager, or keys typed on its terminal."""
    manager: Callable[[Place], int] | None = None
    """The pid of a manager in the background."""
    foreground: Command = ()
    on_terminal: bool = False
    start: tuple[Command, ...] = ()
    again: Command = ()
    """What a user does after a crash. Empty: start it again as before."""
    listing: Command = ()
    """What shows its jobs with their pids. Empty: it has no such command."""
    status: str = "113"
    """How `listing` shows an exit status of 113: a regular expression."""
    dump: Command = ()
    """What prints the output that it keeps in memory only."""
    files: dict[str, str] = field(default_factory=dict)

    @property
    def stop_words(self) -> str:
        if isinstance(self.stop, bytes):
            return {b"x": "x", b"X": "X", b"\x03": "Ctrl-C"}[self.stop]
        if isinstance(self.stop, signal.Signals):
            return self.stop.name
        return " ".join(
            word for word in self.stop if "{" not in word and word not in ("-c", "-S", "--endpoint")
        )

    def ask_version(self, here: Place) -> str:
        """Its number alone, as it says it."""
        found = re.search(r"\d+(\.\d+)+[a-z]?|\d{8}", here.run(self.version)[1])
        return found[0] if found else "unknown"


def find(only: Sequence[str], prefixes: Sequence[str]) -> tuple[list[Tool], list[str]]:
    """Of the tools whose name begins with one of `only` (empty: all) those that are installed, and the names of the others."""
    path = search_path(prefixes)
    wanted = [tool for tool in TOOLS if not only or tool.name.startswith(tuple(only))]
    present = [tool for tool in wanted if shutil.which(tool.program, path=path)]
    absent = [tool.name for tool in wanted if tool not in present]
    if not only:
        absent += [name for name in WITHOUT_ADAPTER if not shutil.which(name, path=path)]
    return present, absent


class Running:
    """One tool with one job in one place."""

    def __init__(self, tool: Tool, here: Place, work: Work) -> None:
        self.tool = tool
        self.here = here
        self.work = work

    def start(self) -> None:
        for name, text in self.tool.files.items():
            with open(f"{self.here.folder}/{name}", "w", encoding="utf-8") as file:
                file.write(self._filled(text))
        self._bring_up()

    @functools.cached_property
    def manager(self) -> int:
        """Its pid, asked once: one that is stopped does not answer."""
        if self.tool.manager is not None:
            return self.tool.manager(self.here)
        assert self.here.foreground is not None
        return self.here.foreground.pid

    def stop(self) -> subprocess.Popen[bytes] | None:
        """Ask it to stop the job, and do not wait."""
        stop = self.tool.stop
        if isinstance(stop, bytes):
            self.here.type(stop)
        elif isinstance(stop, signal.Signals):
            self.signal_manager(stop)
        else:
            return self.here.begin(self._command(stop))
        return None

    def signal_manager(self, number: signal.Signals) -> None:
        send(self.manager, number, self.here.belongs)

    def again(self) -> None:
        """What a user does once the manager is dead."""
        if self.tool.again:
            self.here.run(self._command(self.tool.again))
        else:
            self._bring_up()

    def listed(self) -> str:
        return self.here.run(self._command(self.tool.listing))[1] if self.tool.listing else ""

    def dumped(self) -> str:
        return self.here.run(self._command(self.tool.dump))[1] if self.tool.dump else ""

    def _bring_up(self) -> None:
        if self.tool.foreground:
            self.here.stay(self._command(self.tool.foreground), self.tool.on_terminal)
        for command in self.tool.start:
            status, words = self.here.run(self._command(command))
            if status != 0:
                raise RuntimeError(f"{' '.join(command[:3])} ended with {status}: {words.strip()[-300:]}")

    def _command(self, words: Command) -> list[str]:
        filled: list[str] = []
        for word in words:
            filled += self.work.argv[1:] if word == "{rest}" else [self._filled(word)]
        return filled

    def _filled(self, text: str) -> str:
        text = text.replace("{folder}", self.here.folder).replace("{line}", self.work.line)
        text = text.replace("{words}", shlex.join(self.work.argv)).replace(
            "{json}", json.dumps(self.work.argv)
        )
        return text.replace("{first}", self.work.argv[0])


# ---- who is the manager -------------------------------------------------------------------------------------------


def corral_daemon(here: Place) -> int:
    return int(json.loads(here.run(["corral", "daemon", "status", "--json"])[1])["pid"])


def at_socket(name: str) -> Callable[[Place], int]:
    return lambda here: listener(f"{here.folder}/{name}")


def pm2_daemon(here: Place) -> int:
    with open(f"{here.folder}/pm2/pm2.pid", encoding="utf-8") as file:
        return int(file.read())


# ---- the tools ----------------------------------------------------------------------------------------------------

TMUX = ("tmux", "-S", "{folder}/tmux.sock")
SUPERVISOR = ("supervisorctl", "-c", "{folder}/supervisor.conf")
CIRCUS = ("circusctl", "--endpoint", "ipc://{folder}/circus.sock")

SUPERVISOR_FILE = """[unix_http_server]
file={folder}/supervisor.sock
[supervisord]
nodaemon=true
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{folder}/supervisor.sock
[program:job]
command={words}
"""
CIRCUS_FILE = """[circus]
endpoint = ipc://{folder}/circus.sock
pubsub_endpoint = ipc://{folder}/circus-events.sock
[watcher:job]
cmd = {words}
stdout_stream.class = FileStream
stdout_stream.filename = {folder}/circus-output
"""
MPROCS_FILE = """{"procs": {"job": {"cmd": {json}}}}"""


def supervisor(name: str, more: str) -> Tool:
    return Tool(
        name,
        "supervisord",
        ("supervisord", "--version"),
        stop=(*SUPERVISOR, "stop", JOB),
        foreground=("supervisord", "-c", "{folder}/supervisor.conf"),
        listing=(*SUPERVISOR, "status"),
        files={"supervisor.conf": SUPERVISOR_FILE + more},
    )


def circus(name: str, more: str) -> Tool:
    return Tool(
        name,
        "circusd",
        ("circusd", "--version"),
        stop=(*CIRCUS, "stop", JOB),
        foreground=("circusd", "{folder}/circus.ini"),
        listing=(*CIRCUS, "listpids", JOB),
        files={"circus.ini": CIRCUS_FILE + more},
    )


def concurrently(name: str, stop: signal.Signals | bytes) -> Tool:
    return Tool(
        name,
        "concurrently",
        ("concurrently", "--version"),
        stop=stop,
        foreground=("concurrently", "{line}"),
        on_terminal=isinstance(stop, bytes),
    )


def mprocs(name: str, stop: bytes) -> Tool:
    return Tool(
        name,
        "mprocs",
        ("mprocs", "--version"),
        stop=stop,
        foreground=("mprocs", "--config", "{folder}/mprocs.json", "--log-dir", "{folder}/mprocs-logs"),
        on_terminal=True,
        files={"mprocs.json": MPROCS_FILE},
    )


TOOLS = (
    Tool(
        "corral",
        "corral",
        ("corral", "--version"),
        stop=("corral", "stop", JOB),
        manager=corral_daemon,
        start=(("corral", "run", "--name", JOB, "{line}"),),
        again=("corral", "ps"),
        listing=("corral", "show", "--json", JOB),
        status=r'"exit_status": ?113',
    ),
    Tool(
        "task-spooler",
        "tsp",
        ("tsp", "-V"),
        stop=("tsp", "-k", "0"),
        manager=at_socket("ts.sock"),
        start=(("tsp", "{first}", "{rest}"),),
        again=("tsp",),
        listing=("tsp", "-p"),
    ),
    Tool(
        "tmux",
        "tmux",
        ("tmux", "-V"),
        stop=(*TMUX, "kill-session", "-t", JOB),
        manager=at_socket("tmux.sock"),
        start=((*TMUX, "new-session", "-d", "-s", JOB, "{line}"),),
        again=(*TMUX, "ls"),
        listing=(*TMUX, "list-panes", "-a", "-F", "#{pane_pid} #{pane_dead_status}"),
        dump=(*TMUX, "capture-pane", "-p", "-S", "-", "-t", JOB),
    ),
    Tool(
        "GNU parallel",
        "parallel",
        ("parallel", "--version"),
        stop=signal.SIGTERM,
        foreground=(
            "parallel",
            "--results",
            "{folder}/results",
            "--joblog",
            "{folder}/joblog",
            "--resume",
            ":::",
            "{line}",
        ),
    ),
    supervisor("supervisor", ""),
    supervisor("supervisor, as group", "stopasgroup=true\nkillasgroup=true\n"),
    circus("circus", ""),
    circus("circus, stop_children", "stop_children = True\n"),
    Tool(
        "honcho",
        "honcho",
        ("honcho", "version"),
        stop=signal.SIGINT,
        foreground=("honcho", "start"),
        files={"Procfile": "job: {line}\n"},
    ),
    Tool(
        "pm2",
        "pm2",
        ("pm2", "--version"),
        stop=("pm2", "delete", JOB),
        manager=pm2_daemon,
        start=(
            ("pm2", "start", "{first}", "--name", JOB, "--interpreter", "none", "--", "{rest}"),
            ("pm2", "save"),
        ),
        again=("pm2", "resurrect"),
        listing=("pm2", "jlist"),
        status=r'"exit_code": ?113',
    ),
    concurrently("concurrently, Ctrl-C", b"\x03"),
    concurrently("concurrently, TERM", signal.SIGTERM),
    mprocs("mprocs, stop", b"x"),
    mprocs("mprocs, hard kill", b"X"),
)
WITHOUT_ADAPTER = ("pueue", "process-compose", "overmind")
