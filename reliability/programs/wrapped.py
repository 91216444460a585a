"""What hangs is not what was started: a child while its parent fidgets, the end of an exec chain, a question behind a second terminal."""

from __future__ import annotations

import os
import subprocess
import sys

from reliability.programs.cases import Line, Place, answers, hangs, looks_so, until

WAITS_FOR_FIFO = r"cat waits for somebody to write to the FIFO"
ASKS = "sh -c 'printf \"Sure? \"; read answer'"


@hangs("parallel: two jobs", "parallel", says=WAITS_FOR_FIFO, any_health=True)
def parallel_children(place: Place) -> Line:
    return ["parallel", "--will-cite", "cat {1} #{2}", ":::", str(place.fifo()), ":::", "1", "2"]


@hangs("strace: of a reader", "strace", says=WAITS_FOR_FIFO)
def strace_reader(place: Place) -> Line:
    return ["strace", "-f", "-o", "trace", "sh", "-c", f"cat {place.fifo()}; :"]


@hangs("make: parallel recipes", "make", says=WAITS_FOR_FIFO)
def make_recipes(place: Place) -> Line:
    place.fifo()
    place.write("Makefile", "all: a b\na b:\n\tcat fifo\n")
    return ["make", "-s", "-j2"]


@hangs("make: a prompt among work that ends", "make", says=WAITS_FOR_FIFO)
def make_mixed(place: Place) -> Line:
    place.fifo()
    place.write("Makefile", "all: a b\na:\n\tcat fifo\nb:\n\tsleep 1\n")
    return ["make", "-s", "-j2"]


@hangs("bash: a spinner beside a child", "bash", says=WAITS_FOR_FIFO, any_health=True)
def bash_spinner(place: Place) -> Line:
    fifo = place.fifo()
    return ["bash", "-c", f"cat {fifo} & while kill -0 $!; do printf .; sleep 0.2; done"]


@hangs("python: looks round for its worker", says=WAITS_FOR_FIFO)
def python_polls(place: Place) -> Line:
    script = f"import subprocess, time\np = subprocess.Popen(['cat', {str(place.fifo())!r}])\nwhile p.poll() is None: time.sleep(0.1)"
    return [sys.executable, "-c", script]


@hangs("watch: a command that hangs", "watch", says=WAITS_FOR_FIFO, pty=True)
def watch_child(place: Place) -> Line:
    return ["watch", "-n", "1", f"cat {place.fifo()}"]


@hangs("timeout: in nice in env", "timeout", "nice", says=WAITS_FOR_FIFO)
def chain_of_wrappers(place: Place) -> Line:
    return ["timeout", "1000", "nice", "env", "X=1", "nohup", "cat", str(place.fifo())]


@hangs("nice: exec", "nice", says=r"^cat waits for somebody to write to the FIFO")
def nice_exec(place: Place) -> Line:
    return ["nice", "cat", str(place.fifo())]


@hangs("bash -c: exec", "bash", says=r"^cat waits for somebody to write to the FIFO")
def bash_exec(place: Place) -> Line:
    return ["bash", "-c", f"exec cat {place.fifo()}"]


@hangs("setpriv: exec", "setpriv", says=r"^cat waits for somebody to write to the FIFO")
def setpriv_exec(place: Place) -> Line:
    return ["setpriv", "--no-new-privs", "cat", str(place.fifo())]


@hangs("unshare: forks", "unshare", says=r"^cat waits for somebody to write to the FIFO")
def unshare_fork(place: Place) -> Line:
    user = [] if os.geteuid() == 0 else ["-r"]
    return ["unshare", *user, "--pid", "--fork", "cat", str(place.fifo())]


@hangs("unshare: mounts", "unshare", says=r"^cat waits for somebody to write to the FIFO")
def unshare_exec(place: Place) -> Line:
    user = [] if os.geteuid() == 0 else ["-r"]
    return ["unshare", *user, "--mount", "cat", str(place.fifo())]


@hangs(
    "script: a question",
    "script",
    says=r"sh waits for input from the terminal /dev/pts/\d+; script",
    typed=True,
)
def script_asks(place: Place) -> Line:
    return ["script", "-qc", ASKS, "/dev/null"]


@hangs("script: a question, on a terminal", "script", says=r"sh waits for .*type.*corral attach", pty=True)
def script_asks_pty(place: Place) -> Line:
    return ["script", "-qc", ASKS, "/dev/null"]


@hangs(
    "expect: a question it does not expect", "expect", says=r"sh waits for .*terminal /dev/pts/\d+.*expect"
)
def expect_asks(place: Place) -> Line:
    place.write("x.exp", "set timeout -1\nspawn sh ask.sh\nexpect never\n")
    place.write("ask.sh", "printf 'Sure? '; read answer\n")
    return ["expect", "x.exp"]


@hangs(
    "screen: a question within",
    "screen",
    says=r"sh waits for .*type.*corral attach",
    pty=True,
    any_health=True,
)
def screen_asks(place: Place) -> Line:
    folder = place.folder / "screens"
    folder.mkdir(mode=0o700)
    place.env["SCREENDIR"] = str(folder)
    place.env["TERM"] = "xterm"
    place.write("ask.sh", "printf 'Sure? '; read answer\n")
    place.afterwards(
        lambda: os.system(f"SCREENDIR={folder} screen -S {place.folder.name} -X quit >/dev/null")
    )
    return ["screen", "-c", "/dev/null", "-S", place.folder.name, "sh", str(place.folder / "ask.sh")]


@hangs("python: pty.spawn", says=r"sh waits for .*type.*corral attach", pty=True)
def python_spawns(place: Place) -> Line:
    place.write("ask.sh", "printf 'Sure? '; read answer\n")
    return [sys.executable, "-c", "import pty; pty.spawn(['sh', 'ask.sh'])"]


@looks_so("script: of a sleeper", "script", typed=True)
def script_sleeps(place: Place) -> Line:
    return ["script", "-qc", "sleep 1000", "/dev/null"]


@looks_so("parallel: sleepers", "parallel")
def parallel_sleeps(place: Place) -> Line:
    return ["parallel", "--will-cite", "sleep", ":::", "100", "200"]


@looks_so("strace: of a sleeper", "strace")
def strace_sleeps(place: Place) -> Line:
    return ["strace", "-f", "-o", "trace", "sh", "-c", "sleep 1000; :"]


@looks_so("make: one of two works", "make")
def make_works(place: Place) -> Line:
    place.fifo()
    place.write("Makefile", "all: a b\na:\n\tcat fifo\nb:\n\tsha256sum /dev/zero\n")
    return ["make", "-s", "-j2"]


@looks_so("expect: of a sleeper", "expect")
def expect_sleeps(place: Place) -> Line:
    place.write("x.exp", "set timeout -1\nspawn sleep 1000\nexpect eof\n")
    return ["expect", "x.exp"]


@looks_so("watch: now and then", "watch", pty=True)
def watch_date(place: Place) -> Line:
    return ["watch", "-n", "2", "date"]


@hangs(
    "tmux: a question within",
    "tmux",
    says=r"sh waits for somebody to type.*corral attach",
    pty=True,
    any_health=True,
)
def tmux_asks(place: Place) -> Line:
    place.env["TMUX_TMPDIR"] = str(place.folder)
    place.env["TERM"] = "xterm"
    place.write("ask.sh", "printf 'Sure? '; read answer\n")
    place.afterwards(
        lambda: subprocess.run(["tmux", "kill-server"], env=place.env, check=False, capture_output=True)
    )
    return ["tmux", "-f", "/dev/null", "new", "sh ask.sh"]


@looks_so("tmux: top within", "tmux", "top", pty=True)
def tmux_works(place: Place) -> Line:
    place.env["TMUX_TMPDIR"] = str(place.folder)
    place.env["TERM"] = "xterm"
    place.afterwards(
        lambda: subprocess.run(["tmux", "kill-server"], env=place.env, check=False, capture_output=True)
    )
    return ["tmux", "-f", "/dev/null", "new", "top -d 5"]


@looks_so("script: on a terminal, of a sleeper", "script", pty=True)
def script_on_terminal(place: Place) -> Line:
    return ["script", "-qc", "sleep 1000", "/dev/null"]


@looks_so("ssh -t: a sleeper at the other end", "ssh", "sshd", "ssh-keygen", pty=True)
def ssh_sleeps(place: Place) -> Line:
    port = place.port()
    for name in ("host", "mine"):
        place.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place.folder / name)
    place.write("allowed", (place.folder / "mine.pub").read_text(), 0o600)
    own = f"Port {port}\nListenAddress 127.0.0.1\nHostKey {place.folder}/host\nPidFile none\nStrictModes no\nUsePAM no\n"
    place.write("config", f"{own}AuthorizedKeysFile {place.folder}/allowed\nPermitRootLogin yes\n")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # sshd(8) insists on it
    place.start("/usr/sbin/sshd", "-D", "-f", place.folder / "config")
    until(lambda: answers(port), "sshd to answer")
    known = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    return [
        "ssh",
        "-F",
        "/dev/null",
        *known,
        "-i",
        str(place.folder / "mine"),
        "-p",
        str(port),
        "-t",
        "127.0.0.1",
        "sleep 1000",
    ]
