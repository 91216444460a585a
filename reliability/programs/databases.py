"""Databases, and programs that try a lock again and again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from reliability.programs.cases import Line, Place, hangs, looks_so, until

WANTS_WRITE_LOCK = (
    "import fcntl, sys, time\nf = open(sys.argv[1], 'r+')\n{take}\nprint(1, flush=True)\ntime.sleep(3600)"
)


class Postgres:
    """A server of this case alone, on a socket in its folder."""

    def __init__(self, place: Place) -> None:
        self._place = place
        as_nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
        home = place.folder / "pg"
        home.mkdir()
        place.folder.chmod(0o755)
        if as_nobody:
            shutil.chown(home, "nobody", "nogroup")
        data = home / "data"
        place.run("initdb", "-D", data, "-A", "trust", "-U", "me", "--no-sync", **as_nobody)
        server = Path(os.path.realpath(shutil.which("initdb") or "")).with_name("postgres")
        self.process = place.start(
            server, "-D", data, "-k", home, "-c", "listen_addresses=", "-c", "fsync=off", **as_nobody
        )
        self.psql = ["psql", "-X", "-q", "-h", str(home), "-U", "me", "postgres"]
        until(
            lambda: subprocess.run([*self.psql, "-c", ""], capture_output=True, check=False).returncode == 0,
            "it to answer",
        )
        self.do("create table t (i int, n int)", "insert into t values (1, 1)")

    def do(self, *statements: str) -> None:
        for one in statements:
            self._place.run(*self.psql, "-c", one)

    def holding(self, statement: str) -> None:
        """Another client, with a transaction open in which it did that, and now says nothing."""
        client = self._place.start(*self.psql, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(f"begin; {statement}; \\echo done\n".encode())
        client.stdin.flush()
        client.stdout.readline()


@hangs(
    "psql: row lock",
    "psql",
    "initdb",
    says=r"postgres.*, which postgres .\d+., idle in transaction, seems to hold; that one waits for data from \d+ .psql",
)
def row_lock(place: Place) -> Line:
    server = Postgres(place)
    server.holding("update t set n = 2")
    return [*server.psql, "-c", "update t set n = 3"]


@hangs(
    "psql: table lock",
    "psql",
    "initdb",
    says=r"postgres.*, which postgres .\d+., idle in transaction, seems to hold; that one waits for data from \d+ .psql",
)
def table_lock(place: Place) -> Line:
    server = Postgres(place)
    server.holding("lock table t")
    return [*server.psql, "-c", "select * from t"]


@hangs(
    "pg_dump: table lock",
    "psql",
    "initdb",
    "pg_dump",
    says=r"postgres.*, which postgres .\d+., idle in transaction, seems to hold; that one waits for data from \d+ .psql",
)
def dump_lock(place: Place) -> Line:
    server = Postgres(place)
    server.holding("lock table t")
    return ["pg_dump", *server.psql[3:]]


@hangs("psql: asks", "psql", "initdb", says=r"psql waits for somebody to type", pty=True)
def psql_asks(place: Place) -> Line:
    return Postgres(place).psql


@looks_so("psql: pg_sleep", "psql", "initdb")
def psql_sleeps(place: Place) -> Line:
    return [*Postgres(place).psql, "-c", "select pg_sleep(600)"]


@looks_so("postgres: idle", "psql", "initdb")
def idle_server(place: Place) -> Line:
    server = Postgres(place)
    server.process.terminate()
    server.process.wait()
    words = [str(word) for word in server.process.args]  # type: ignore[union-attr]
    return (
        ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *words]
        if os.geteuid() == 0
        else words
    )


def _locked_sqlite(place: Place) -> Path:
    """A database in which another sqlite3 has begun to write."""
    path = place.folder / "data.db"
    place.run("sqlite3", path, "create table t (i int); insert into t values (1)")
    _talking(place, path, "begin exclusive; select 'held';")
    return path


def _talking(place: Place, path: Path, statements: str) -> None:
    """Another sqlite3 that has done that, and waits for more."""
    holder = place.start("sqlite3", path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write(f"{statements}\n".encode())
    holder.stdin.flush()
    holder.stdout.readline()


@hangs("sqlite3: busy", "sqlite3", says=r"sqlite3 waits for the lock on .*data\.db.* sqlite3 \(\d+\) holds")
def sqlite_busy(place: Place) -> Line:
    path = _locked_sqlite(place)
    return ["sqlite3", "-cmd", ".timeout 600000", str(path), "update t set i = 2"]


@hangs(
    "python: sqlite3 module",
    "sqlite3",
    says=r"python.* waits for the lock on .*data\.db.* sqlite3 \(\d+\) holds",
)
def python_sqlite(place: Place) -> Line:
    path = _locked_sqlite(place)
    script = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=600).execute('update t set i = 2')"
    return [sys.executable, "-c", script]


@hangs(
    "apt-get: lock",
    "apt-get",
    says=r"again: .*lock-frontend\. It is held by process \d+ \(python",
    any_health=True,
)
def apt_lock(place: Place) -> Line:
    # Its own state and no sources, so that it would do nothing if it got the lock.
    for name in ("lists/partial", "dpkg", "cache/archives/partial"):
        (place.folder / name).mkdir(parents=True)
    place.write("dpkg/status", "")
    holder = place.start(
        sys.executable,
        "-c",
        WANTS_WRITE_LOCK.format(take="fcntl.lockf(f, fcntl.LOCK_EX)"),
        place.write("dpkg/lock-frontend", ""),
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    own = {
        "Dir::State": place.folder,
        "Dir::State::status": place.folder / "dpkg/status",
        "Dir::Cache": place.folder / "cache",
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": "/dev/null",
        "DPkg::Lock::Timeout": 600,
    }
    return ["apt-get", *[word for key, value in own.items() for word in ("-o", f"{key}={value}")], "install"]


@looks_so("sqlite3: reads in turn", "sqlite3")
def sqlite_free(place: Place) -> Line:
    path = place.folder / "data.db"
    place.run("sqlite3", path, "create table t (i int)")
    return ["sh", "-c", f"while :; do sqlite3 {path} 'insert into t values (1)'; sleep 1; done"]


@hangs(
    "sqlite3: a reader keeps a writer off",
    "sqlite3",
    says=r"sqlite3 waits for the lock on .*data\.db.* sqlite3 \(\d+\) holds",
)
def sqlite_reader(place: Place) -> Line:
    path = place.folder / "data.db"
    place.run("sqlite3", path, "create table t (i int); insert into t values (1), (2)")
    _talking(place, path, "begin; select i from t limit 1;")
    return ["sqlite3", "-cmd", ".timeout 600000", str(path), "update t set i = 2"]


@hangs(
    "sqlite3: two writers of a log",
    "sqlite3",
    says=r"sqlite3 waits for the lock on .*data\.db-shm.* sqlite3 \(\d+\) holds",
)
def sqlite_log(place: Place) -> Line:
    path = place.folder / "data.db"
    place.run("sqlite3", path, "pragma journal_mode = wal; create table t (i int)")
    _talking(place, path, "begin immediate; select 1;")
    return ["sqlite3", "-cmd", ".timeout 600000", str(path), "insert into t values (2)"]


@looks_so("flock: what it starts looks round", "flock")
def flock_child(place: Place) -> Line:
    script = "import time\nwhile True: time.sleep(0.3)"
    return ["flock", str(place.write("lock", "")), sys.executable, "-c", script]


@looks_so("python: a transaction that is left open", "sqlite3")
def sqlite_open(place: Place) -> Line:
    path = place.folder / "data.db"
    place.run("sqlite3", path, "pragma journal_mode = wal; create table t (i int)")
    _talking(place, path, "begin; select count(*) from t;")
    script = (
        f"import sqlite3, time\nd = sqlite3.connect({str(path)!r}, isolation_level=None)\n"
        "d.execute('begin immediate')\nwhile True: time.sleep(0.3)"
    )
    return [sys.executable, "-c", script]
