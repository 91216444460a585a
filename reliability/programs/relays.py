"""Servers that are stopped or silent, relays between a client and such a one, and what only looks so."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from reliability.programs.cases import (
    SILENT,
    Line,
    Place,
    answers,
    hangs,
    looks_so,
    silent_server,
    until,
    until_listening,
)

SLEEPS = """import http.server, sys, time
class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        {does}
http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Slow).serve_forever()"""
KEEPS = "import subprocess, sys; subprocess.run(sys.argv[1], shell=True, capture_output=True)"


def stopped(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGSTOP)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as one:
        return not one.connect_ex(str(path))


def _redis(place: Place) -> tuple[subprocess.Popen[bytes], int]:
    port = place.port()
    server = place.start("redis-server", "--port", port, "--save", "", "--bind", "127.0.0.1")
    until(lambda: answers(port), "redis to answer")
    return server, port


# ---- not accepted -------------------------------------------------------------------------------------------------


@hangs(
    "redis-cli: stopped server",
    "redis-cli",
    "redis-server",
    says=r"redis-cli .*redis-server \(\d+\).*(stopped|suspended)",
)
def redis_stopped(place: Place) -> Line:
    server, port = _redis(place)
    stopped(server)
    return ["redis-cli", "-p", str(port), "ping"]


@hangs("curl: stopped server", "curl", says=r"curl .*python\S* \(\d+\).*(stopped|suspended)")
def curl_stopped(place: Place) -> Line:
    port = place.port()
    server = place.start(sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1")
    until(lambda: answers(port), "it to answer")
    stopped(server)
    return ["curl", "-s", f"http://127.0.0.1:{port}/"]


@hangs(
    "curl: stopped server on a unix socket",
    "curl",
    "socat",
    says=r"curl .*socat \(\d+\).*(stopped|suspended)",
)
def curl_unix_stopped(place: Place) -> Line:
    path = place.folder / "s.sock"
    server = place.start("socat", f"UNIX-LISTEN:{path},fork", "EXEC:cat")
    until(lambda: path.exists() and _listens(path), "socat to listen")
    stopped(server)
    return ["curl", "-s", "--unix-socket", str(path), "http://localhost/"]


@hangs(
    "curl: stopped server on an abstract socket",
    "curl",
    "socat",
    says=r"curl .*socat \(\d+\).*(stopped|suspended)",
)
def curl_abstract_stopped(place: Place) -> Line:
    name = f"corral-real-{place.port()}"
    server = place.start("socat", f"ABSTRACT-LISTEN:{name},fork", "EXEC:cat")
    until(lambda: f"@{name}" in Path("/proc/net/unix").read_text(), "socat to listen")
    stopped(server)
    return ["curl", "-s", "--abstract-unix-socket", name, "http://localhost/"]


@hangs("nc: stopped server", "nc", says=r"nc .*nc \(\d+\).*(stopped|suspended)", typed=True)
def nc_stopped(place: Place) -> Line:
    port = place.port()
    server = place.start("nc", "-l", "127.0.0.1", port, stdin=subprocess.PIPE)
    until_listening(port)
    stopped(server)
    return f"nc 127.0.0.1 {port} < /dev/null"


@hangs("cat into nc: stopped server", "nc", says=r"nc .*nc \(\d+\).*(stopped|suspended)")
def cat_into_nc(place: Place) -> Line:
    port = place.port()
    server = place.start("nc", "-l", "127.0.0.1", port, stdin=subprocess.PIPE)
    until_listening(port)
    stopped(server)
    return f"cat /dev/zero | nc 127.0.0.1 {port}"


@hangs("socat: upload to a stopped server", "socat", "nc", says=r"socat .*nc \(\d+\).*(stopped|suspended)")
def socat_upload(place: Place) -> Line:
    port = place.port()
    server = place.start("nc", "-l", "127.0.0.1", port, stdin=subprocess.PIPE)
    until_listening(port)
    stopped(server)
    return f"cat /dev/zero | socat -u - TCP:127.0.0.1:{port}"


@hangs("ssh: stopped sshd", "ssh", "sshd", says=r"ssh .*sshd \(\d+\).*(stopped|suspended)")
def ssh_stopped(place: Place) -> Line:
    server, port = _sshd(place)
    stopped(server)
    return [*_ssh(place, port), "true"]


# ---- polls --------------------------------------------------------------------------------------------------------


@hangs("curl: silent unix socket", "curl", "nc", says=r"curl .*nc \(\d+\)")
def curl_unix_silent(place: Place) -> Line:
    path = place.folder / "s.sock"
    place.start("nc", "-lU", path, stdin=subprocess.PIPE)
    until(path.exists, "nc to listen")
    return ["curl", "-s", "--unix-socket", str(path), "http://localhost/"]


@hangs("curl: silent abstract socket", "curl", says=r"curl .*python\S* \(\d+\)")
def curl_abstract_silent(place: Place) -> Line:
    name = f"corral-real-{place.port()}"
    script = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.bind('\\0' + sys.argv[1])\ns.listen()\nc = s.accept()[0]\ns.accept()"
    place.start(sys.executable, "-c", script, name)
    until(lambda: f"@{name}" in Path("/proc/net/unix").read_text(), "it to listen")
    return ["curl", "-s", "--abstract-unix-socket", name, "http://localhost/"]


@hangs(
    "curl: silent server in another network namespace",
    "curl",
    "unshare",
    "nsenter",
    "ip",
    says=r"curl .*python\S* \(\d+\)",
)
def curl_elsewhere(place: Place) -> Line:
    script = 'ip link set lo up; exec "$0" -c "$1" 80'
    there = place.start("unshare", "-rn", "sh", "-c", script, sys.executable, SILENT)
    tables = Path(f"/proc/{there.pid}/net/tcp")
    until(lambda: ":0050 00000000:0000 0A" in tables.read_text(), "it to listen")
    enter = ["nsenter", "-t", str(there.pid), "-U", "-n", "--preserve-credentials"]
    return [*enter, "curl", "-s", "http://127.0.0.1/"]


# ---- relays -------------------------------------------------------------------------------------------------------


def _relay(place: Place, target: str) -> int:
    port = place.port()
    place.start("socat", f"TCP-LISTEN:{port},fork,reuseaddr,bind=127.0.0.1", target)
    until_listening(port)
    return port


@hangs("curl through socat: silent server", "curl", "socat", says=r"curl .*socat.*python\S* \(\d+\)")
def through_socat(place: Place) -> Line:
    port = silent_server(place)
    return ["curl", "-s", f"http://127.0.0.1:{_relay(place, f'TCP:127.0.0.1:{port}')}/"]


@hangs(
    "redis-cli through socat: stopped server",
    "redis-cli",
    "redis-server",
    "socat",
    says=r"redis-cli .*redis-server \(\d+\).*(stopped|suspended)",
)
def redis_through_socat(place: Place) -> Line:
    server, port = _redis(place)
    relay = _relay(place, f"TCP:127.0.0.1:{port}")
    stopped(server)
    return ["redis-cli", "-p", str(relay), "ping"]


@hangs(
    "redis-cli through two relays: stopped server",
    "redis-cli",
    "redis-server",
    "socat",
    says=r"redis-cli .*redis-server \(\d+\).*(stopped|suspended)",
)
def through_two(place: Place) -> Line:
    server, port = _redis(place)
    path = place.folder / "r.sock"
    place.start("socat", f"UNIX-LISTEN:{path},fork", f"TCP:127.0.0.1:{port}")
    until(path.exists, "socat to listen")
    relay = _relay(place, f"UNIX-CONNECT:{path}")
    stopped(server)
    return ["redis-cli", "-p", str(relay), "ping"]


def _nginx_config(place: Place, port: int, upstream: int) -> Path:
    folder = place.folder
    paths = "".join(
        f"{one}_temp_path {folder}/{one};" for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return place.write(
        "nginx.conf",
        f"daemon off; worker_processes 2; pid {folder}/nginx.pid; error_log {folder}/error.log; user root;\n"
        f"events {{}}\nhttp {{ access_log off; {paths}\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_read_timeout 1h; }} }} }}\n",
    )


def _nginx(place: Place, upstream: int) -> int:
    port = place.port()
    place.start("nginx", "-c", _nginx_config(place, port, upstream))
    until_listening(port)
    return port


@hangs("curl through nginx: silent upstream", "curl", "nginx", says=r"curl .*nginx.*python\S* \(\d+\)")
def through_nginx(place: Place) -> Line:
    port = silent_server(place)
    return ["curl", "-s", f"http://127.0.0.1:{_nginx(place, port)}/"]


@hangs(
    "curl through nginx: stopped upstream",
    "curl",
    "nginx",
    says=r"curl .*nginx.*python\S* \(\d+\).*(stopped|suspended)",
)
def through_nginx_to_stopped(place: Place) -> Line:
    port = place.port()
    upstream = place.start(sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1")
    until(lambda: answers(port), "it to answer")
    relay = _nginx(place, port)
    stopped(upstream)
    return ["curl", "-s", f"http://127.0.0.1:{relay}/"]


def _sshd(place: Place) -> tuple[subprocess.Popen[bytes], int]:
    port, folder = place.port(), place.folder
    for name in ("host", "key"):
        place.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
    shutil.copy(folder / "key.pub", folder / "allowed")
    Path("/run/sshd").mkdir(exist_ok=True)  # its own wish, where it runs as root
    config = place.write(
        "sshd_config",
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/allowed\n"
        f"PidFile {folder}/sshd.pid\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n",
    )
    server = place.start(shutil.which("sshd") or "sshd", "-D", "-f", config)
    until_listening(port)
    return server, port


def _ssh(place: Place, port: int, *options: str) -> list[str]:
    quiet = [
        "-F",
        "none",
        "-i",
        str(place.folder / "key"),
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "BatchMode=yes",
    ]
    return ["ssh", *quiet, *options, "-p", str(port), "127.0.0.1"]


@hangs(
    "ssh: ProxyCommand nc to a stopped sshd",
    "ssh",
    "sshd",
    "nc",
    says=r"(ssh|nc) .*sshd \(\d+\).*(stopped|suspended)",
)
def proxy_command(place: Place) -> Line:
    server, port = _sshd(place)
    stopped(server)
    return [*_ssh(place, port, "-o", f"ProxyCommand=nc 127.0.0.1 {port}"), "true"]


@hangs("curl through ssh -L: silent server", "curl", "ssh", "sshd", says=r"curl .*ssh.*python\S* \(\d+\)")
def through_tunnel(place: Place) -> Line:
    _, port = _sshd(place)
    silent, here = silent_server(place), place.port()
    place.start(*_ssh(place, port, "-N", "-L", f"127.0.0.1:{here}:127.0.0.1:{silent}"))
    until_listening(here)
    return ["curl", "-s", f"http://127.0.0.1:{here}/"]


# ---- a pipe that a server keeps open ------------------------------------------------------------------------------


@hangs(
    "python: ssh-agent keeps its pipe",
    "ssh-agent",
    says=r"python\S* waits for the end of a pipe that ssh-agent .*(has|keeps|inherited)",
)
def agent_keeps_pipe(place: Place) -> Line:
    return [sys.executable, "-c", KEEPS, f"ssh-agent -D -a {place.folder}/a.sock & true"]


@hangs(
    "sh: nginx keeps its pipe",
    "nginx",
    says=r"sh waits for the end of a pipe that nginx \(\d+\) has inherited",
)
def nginx_keeps_pipe(place: Place) -> Line:
    config = _nginx_config(place, place.port(), 9)
    return ["sh", "-c", f"x=$(nginx -c {config} & echo started); echo $x"]


@hangs(
    "bash: Xvfb keeps its pipe",
    "Xvfb",
    says=r"bash waits for the end of a pipe that Xvfb \(\d+\) has inherited",
)
def xvfb_keeps_pipe(place: Place) -> Line:
    return ["bash", "-c", f"x=$(Xvfb :{590 + place.port() % 400} -nolisten tcp 2>&1 & echo started); echo $x"]


# ---- only look so -------------------------------------------------------------------------------------------------


def _http(place: Place, does: str) -> int:
    port = place.port()
    place.start(sys.executable, "-c", SLEEPS.format(does=does), port)
    until_listening(port)
    return port


@looks_so("curl: the server sleeps before it answers", "curl")
def server_sleeps(place: Place) -> Line:
    return ["curl", "-s", f"http://127.0.0.1:{_http(place, 'time.sleep(3600)')}/"]


@looks_so("wget: the server sleeps before it answers", "wget")
def wget_sleeps(place: Place) -> Line:
    return ["wget", "-q", "-O", "-", f"http://127.0.0.1:{_http(place, 'time.sleep(3600)')}/"]


@looks_so("curl through nginx: the upstream sleeps", "curl", "nginx")
def upstream_sleeps(place: Place) -> Line:
    return ["curl", "-s", f"http://127.0.0.1:{_nginx(place, _http(place, 'time.sleep(3600)'))}/"]


@looks_so("curl through socat: the server looks round", "curl", "socat")
def upstream_polls(place: Place) -> Line:
    port = _http(place, "[time.sleep(0.2) for _ in iter(int, 1)]")
    return ["curl", "-s", f"http://127.0.0.1:{_relay(place, f'TCP:127.0.0.1:{port}')}/"]


@looks_so("redis-cli: the server is busy", "redis-cli", "redis-server")
def redis_busy(place: Place) -> Line:
    _, port = _redis(place)
    return ["redis-cli", "-p", str(port), "eval", "while true do end", "0"]


@looks_so("redis-server: idle", "redis-server")
def redis_idle_server(place: Place) -> Line:
    return ["redis-server", "--port", str(place.port()), "--save", "", "--bind", "127.0.0.1"]


@looks_so("redis-cli: waits for a list", "redis-cli", "redis-server")
def redis_waits(place: Place) -> Line:
    _, port = _redis(place)
    return ["redis-cli", "-p", str(port), "blpop", "list", "0"]


@looks_so("tee: what a server in the background prints", "socat", "setsid")
def background_into_tee(place: Place) -> Line:
    server = f"setsid socat TCP-LISTEN:{place.port()},bind=127.0.0.1,fork EXEC:cat"
    return ["sh", "-c", f"({server} & echo started) | tee log"]


@looks_so("ssh: the command follows a file", "ssh", "sshd")
def ssh_tails(place: Place) -> Line:
    _, port = _sshd(place)
    return [*_ssh(place, port), f"tail -f {place.write('log', '')}"]


@looks_so("curl: trickles through socat", "curl", "socat")
def trickles(place: Place) -> Line:
    does = "self.wfile.write(b'HTTP/1.0 200 OK\\r\\n\\r\\n'); [(self.wfile.write(b'x'), time.sleep(4)) for _ in iter(int, 1)]"
    return ["curl", "-sN", f"http://127.0.0.1:{_relay(place, f'TCP:127.0.0.1:{_http(place, does)}')}/"]


@looks_so("top -d 60", "top", pty=True)
def top(place: Place) -> Line:
    return ["top", "-d", "60"]


@looks_so("watch -n 60", "watch", pty=True)
def watch(place: Place) -> Line:
    return ["watch", "-n", "60", "date"]


@looks_so("bash: read -t 600", "bash", pty=True)
def read_with_limit(place: Place) -> Line:
    return ["bash", "-c", "read -t 600 x"]


def _high_port() -> int:
    """A free one of those that the kernel deals out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@looks_so("nc: UDP receiver on a high port", "nc")
def udp_nc(place: Place) -> Line:
    return ["nc", "-u", "-l", "127.0.0.1", str(_high_port())]


@looks_so("socat: UDP receiver on a high port", "socat")
def udp_socat(place: Place) -> Line:
    return ["socat", "-u", f"UDP-RECV:{_high_port()},bind=127.0.0.1", "-"]


@looks_so("socat: idle relay", "socat")
def idle_relay(place: Place) -> Line:
    return ["socat", f"TCP-LISTEN:{place.port()},fork,bind=127.0.0.1", "TCP:127.0.0.1:9"]


@looks_so("nginx: idle", "nginx")
def idle_nginx(place: Place) -> Line:
    return ["nginx", "-c", str(_nginx_config(place, place.port(), 9))]


@looks_so("ssh -N: an idle tunnel", "ssh", "sshd")
def idle_tunnel(place: Place) -> Line:
    _, port = _sshd(place)
    return _ssh(place, port, "-N", "-L", f"127.0.0.1:{place.port()}:127.0.0.1:9")


@looks_so("ssh: the command sleeps", "ssh", "sshd")
def ssh_sleeps(place: Place) -> Line:
    _, port = _sshd(place)
    return [*_ssh(place, port), "sleep 300"]


@looks_so("xeyes: an idle X client", "Xvfb", "xeyes")
def x_client(place: Place) -> Line:
    number = 90 + place.port() % 400
    place.start("Xvfb", f":{number}", "-nolisten", "tcp")
    until(lambda: _listens(Path(f"/tmp/.X11-unix/X{number}")), "the X server to listen")
    time.sleep(1)
    return ["xlogo", "-display", f":{number}"]
