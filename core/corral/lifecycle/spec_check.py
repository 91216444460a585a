"""What a specification has to be before a job is made of it: clients are programs, and programs have faults."""

from __future__ import annotations

from corral.model import validators
from corral.model.errors import UsageError, shorten
from corral.model.spec import Command, FileInput, JobSpec, NullInput, Redirection, Surroundings
from corral.platform.files.pty import MOST_CELLS
from corral.platform.process import mark
from corral.platform.spawn import resource_limits
from corral.platform.spawn.child_setup import LIMIT_NAMES

NO_GROUP = (1 << 32) - 1
"""What setgid(2) takes for none."""
LONGEST_PATH = 4096
"""PATH_MAX of Linux (limits.h)."""
MOST_AFTER = 1000
MOST_REDIRECTIONS = 100
"""Of one stage: each is a descriptor of the daemon until it has started."""


def check_values(spec: JobSpec) -> None:
    """Raises UsageError."""
    stages = spec.pipeline.stages
    if len(stages) > mark.MAX_STAGES:
        raise UsageError(f"{len(stages)} stages: at most {mark.MAX_STAGES} are supported")
    if len(spec.after) > MOST_AFTER:
        raise UsageError(f"after {len(spec.after)} jobs: at most {MOST_AFTER} are supported")
    check_sense(spec)


def check_sense(spec: JobSpec) -> None:
    """What no daemon would take, whatever it supports. A client that sends many asks this before. Raises UsageError."""
    stages = spec.pipeline.stages
    if not stages or not all(command.argv for command in stages):
        raise UsageError("nothing to run: the pipeline has a stage without a command")
    if spec.pty:
        _check_terminal(spec)
    validators.NAME("name", spec.name)
    validators.SIGNAL("stop_signal", spec.stop_signal)
    validators.TIME_LIMIT("timeout", spec.timeout)
    validators.SECONDS("stop_grace", spec.stop_grace)
    validators.SECONDS("stuck_after", spec.stuck_after)
    validators.OUTPUT_BYTES("max_output", spec.max_output)
    if isinstance(spec.stdin, FileInput):
        _check_text("the path of stdin", spec.stdin.path)
    for command in stages:
        _check_words(command)
        _check_redirections(command)


def _check_terminal(spec: JobSpec) -> None:
    if len(spec.pipeline.stages) != 1:
        # A session has one controlling terminal, and every stage has a session of its own (setsid(2)).
        raise UsageError(
            "a pipeline cannot have one terminal: let sh run it, as one stage: --pty --shell 'a | b'; in Python shell=True"
        )
    if not isinstance(spec.stdin, NullInput):
        raise UsageError("a job with a terminal reads from it; it cannot have another stdin")
    if spec.output == "pipe":
        raise UsageError("a job with a terminal prints on it; its output cannot be a pipe")
    if not all(1 <= cells <= MOST_CELLS for cells in spec.terminal_size):
        raise UsageError(
            f"a terminal of {spec.terminal_size} columns and rows: 1 to {MOST_CELLS} are possible"
        )


def check_surroundings(surroundings: Surroundings) -> None:
    """Raises UsageError, before anything is opened or emptied. No value is named: it may be a secret."""
    _check_text("the directory", surroundings.cwd)
    if len(surroundings.cwd) > LONGEST_PATH:
        raise UsageError(f"the directory {shorten(surroundings.cwd)} is longer than a path can be")
    if not surroundings.cwd.startswith("/"):
        raise UsageError(f"the directory {shorten(surroundings.cwd)} is not absolute: give its whole path")
    for name, value in surroundings.environment.items():
        if "=" in name or "\0" in name or "\0" in value:
            raise UsageError("the environment: a name holds = or NUL, or a value NUL")
    if not 0 <= surroundings.umask <= 0o777:
        raise UsageError(f"umask of {surroundings.umask}: 0 to 0o777 are possible")
    if not -20 <= surroundings.nice <= 19:
        raise UsageError(f"nice of {surroundings.nice}: -20 to 19 are possible")
    standing = surroundings.standing
    if standing is not None:
        if not all(0 <= group < NO_GROUP for group in (standing.group, *standing.groups)):
            raise UsageError(f"a group that is no number from 0 to {NO_GROUP - 1}")
        if not -1000 <= standing.oom_score_adj <= 1000:
            raise UsageError(f"oom_score_adj of {standing.oom_score_adj}: -1000 to 1000 are possible")
    for number, (soft, hard) in surroundings.limits.items():
        if number in LIMIT_NAMES and not resource_limits.is_possible(soft, hard):
            raise UsageError(
                f"the limit {LIMIT_NAMES[number]} of {soft}, {hard}: the soft one is at most the hard one"
            )


def _check_words(command: Command) -> None:
    if any("\0" in word for word in command.argv):
        raise UsageError(
            f"{shorten(command.argv[0])}: an argument contains NUL, which cannot be passed to a program"
        )
    for name, value in command.assignments:
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise UsageError(f"{shorten(command.argv[0])}: NAME=value in front of it is no assignment")


def _check_text(what: str, text: str) -> None:
    if "\0" in text:
        raise UsageError(f"{what} holds NUL, which no path can")


def _check_redirections(command: Command) -> None:
    if len(command.redirections) > MOST_REDIRECTIONS:
        raise UsageError(
            f"{len(command.redirections)} redirections: at most {MOST_REDIRECTIONS} are supported"
        )
    for redirection in command.redirections:
        if redirection.fd not in (0, 1, 2):
            raise UsageError(f"redirection of descriptor {redirection.fd}: 0, 1 and 2 are supported")
        if (redirection.path is None) != (redirection.mode == "merge") or _is_backwards(redirection):
            raise UsageError(f"redirection of descriptor {redirection.fd}: it makes no sense")
        _check_text("the path of a redirection", redirection.path or "")


def _is_backwards(redirection: Redirection) -> bool:
    return (redirection.fd == 0) != (redirection.mode == "read")
