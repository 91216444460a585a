"""A copy of a home is a home of its own, and touches nothing of the original's; one that was moved goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from corral.journal.reader import JournalReader
from corral.model.errors import CorralError
from corral.model.job import Job, ProcessView
from corral.protocol import requests as p
from e2e.command import Corral
from e2e.daemons import Daemons, start, wait
from until import until


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[Callable[[str], Daemons]]:
    """The daemons of a home in the test's folder, by its name; all are ended."""
    made: dict[str, Daemons] = {}

    def at(name: str) -> Daemons:
        return made.setdefault(name, Daemons(tmp_path / name))

    yield at
    for one in made.values():
        one.end()


Homes = Callable[[str], Daemons]


def jobs(daemons: Daemons) -> dict[str, Job]:
    with daemons.client() as client:
        return {job.id: job for job in client.call(p.ListJobs(all=True), timeout=30).jobs}


def states(daemons: Daemons) -> dict[str, str]:
    return {number: job.state for number, job in jobs(daemons).items()}


def unended_in_journal(daemons: Daemons) -> list[int]:
    with closing(JournalReader.open(daemons.home)) as journal:
        return journal.unended_ids()


def by_cp(home: str, copy: str) -> None:
    subprocess.run(["cp", "-a", home, copy], check=True)


def by_tar(home: str, copy: str) -> None:
    """As a backup that is restored beside the original."""
    os.mkdir(copy)
    with subprocess.Popen(["tar", "-C", home, "-cf", "-", "."], stdout=subprocess.PIPE) as packed:
        subprocess.run(["tar", "-C", copy, "-xf", "-"], stdin=packed.stdout, check=True)


def by_files(home: str, copy: str) -> None:
    """The journal alone."""
    os.mkdir(copy, 0o700)
    for path in Path(home).glob("corral.db*"):
        shutil.copy(path, copy)


def populate(daemons: Daemons, note: Path) -> list[int]:
    """Job 1 runs, job 2 waits for it, 3 has left something behind. The pids."""
    with daemons.client() as client:
        start(client, "sleep 100")
        start(client, ["sh", "-c", f"echo ran >> {note}"], after=("1",))
        start(client, ["sh", "-c", "sleep 101 & exit 0"])
        wait(client, "3")
    until(lambda: jobs(daemons)["3"].leftovers == 1, "the leftovers to be found")
    return [process.pid for number in "13" for process in tree(daemons, number)]


def tree(daemons: Daemons, job: str) -> list[ProcessView]:
    with daemons.client() as client:
        return list(client.call(p.ListProcesses(job=job), timeout=30).processes)


@pytest.mark.parametrize(
    ("copied", "is_served"), [(by_cp, True), (by_cp, False), (by_tar, True), (by_files, False)]
)
def test_a_copy_leaves_the_jobs_to_the_original(
    homes: Homes, tmp_path: Path, copied: Callable[[str, str], None], is_served: bool
) -> None:
    note = tmp_path / "note"
    original, copy = homes("home"), homes("copy")
    pids = populate(original, note)
    if not is_served:
        original.signal()
    copied(original.home.path, copy.home.path)
    with copy.client() as client:
        (notice,) = client.hello.notices
    reason = f"this home is a copy of {original.home.path}; its jobs belong to that"
    assert notice.startswith(f"{copy.home.path} is a copy of {original.home.path}: 2 jobs")
    found = jobs(copy)
    assert [(found[one].state, found[one].reason) for one in "12"] == [("lost", reason)] * 2
    assert found["3"].leftovers == 0
    with copy.client() as client:
        assert client.call(p.StopJobs(ids=("1", "3")), timeout=30).reports[0].processes == ()
    # The next daemon of the copy finds the same, and says nothing any more.
    copy.signal()
    assert states(copy) == {"1": "lost", "2": "lost", "3": "succeeded"}
    with copy.client() as client:
        assert client.hello.notices == ()
        assert wait(client, *start(client, "true"))[0].state == "succeeded"
    assert states(original) == {"1": "running", "2": "queued", "3": "succeeded"}
    assert jobs(original)["3"].leftovers == 1
    assert pids == [process.pid for number in "13" for process in tree(original, number)]
    assert not note.exists()


def test_the_first_command_in_a_copy_says_so(corral: Corral, tmp_path: Path) -> None:
    corral.ok("run", "-q", "sleep", "100")
    by_cp(str(corral.home), str(tmp_path / "copy"))
    copy = Corral(tmp_path / "copy", corral.directory)
    none = copy("daemon", "status")
    assert none.returncode == 3
    assert f"it is a copy of {corral.home}, where the jobs are that have not ended" in none.stdout
    listed = copy("ps")
    assert f"{copy.home} is a copy of {corral.home}: 1 job that had not ended belong" in listed.stderr
    assert copy.ok("daemon", "stop") == ""
    assert json.loads(corral.ok("ps", "--json"))[0]["state"] == "running"


def test_a_copy_of_a_copy(homes: Homes) -> None:
    with homes("home").client() as client:
        wait(client, *start(client, "true"))
    until(lambda: not unended_in_journal(homes("home")), "its end to be in the journal")
    by_cp(homes("home").home.path, homes("copy").home.path)
    with homes("copy").client() as client:
        start(client, "sleep 100")
    by_cp(homes("copy").home.path, homes("third").home.path)
    reason = f"this home is a copy of {homes('copy').home.path}; its jobs belong to that"
    assert jobs(homes("third"))["2"].reason == reason
    assert states(homes("copy")) == {"1": "succeeded", "2": "running"}


def test_a_backup_written_over_a_copy_that_is_served(homes: Homes) -> None:
    """As rsync does each night: for a moment two folders with a daemon each note the same nonce."""
    original, copy = homes("home"), homes("copy")
    with original.client() as client:
        start(client, "sleep 100")
    by_cp(original.home.path, copy.home.path)
    with copy.client() as client:
        start(client, "sleep 101")
    nonce = copy.nonce()
    shutil.copy(original.home.identity_file, copy.home.identity_file)
    original.signal()
    assert states(original) == {"1": "running"}
    until(lambda: copy.nonce() == nonce, "the copy to note its own again")
    assert states(copy) == {"1": "lost", "2": "running"}


@pytest.mark.parametrize("is_served", [True, False])
def test_a_copy_whose_original_was_removed(homes: Homes, is_served: bool) -> None:
    """Where a daemon goes on with the jobs, they are its; else the copy is all that there is, as after a move to another disk."""
    original, copy = homes("home"), homes("copy")
    with original.client() as client:
        start(client, "sleep 100")
    if not is_served:
        original.signal()
    by_cp(original.home.path, copy.home.path)
    shutil.rmtree(original.home.path)
    assert states(copy) == {"1": "lost" if is_served else "running"}
    if is_served:
        assert states(original) == {"1": "running"}


@pytest.mark.parametrize("first", ["home", "moved"])
def test_a_copy_in_the_place_of_the_original(homes: Homes, first: str) -> None:
    """Neither paths nor times tell; the running job does, by the folder it writes to."""
    with homes("home").client() as client:
        start(client, "sleep 100")
    homes("home").signal()
    os.rename(homes("home").home.path, homes("moved").home.path)
    by_cp(homes("moved").home.path, homes("home").home.path)
    for name in (first, "home", "moved"):
        assert states(homes(name)) == {"1": "running" if name == "moved" else "lost"}


def test_one_folder_by_other_paths_is_one_home(homes: Homes) -> None:
    with homes("home").client() as client:
        start(client, "sleep 100")
    homes("home").signal()
    os.symlink(homes("home").home.path, homes("link").home.path)
    assert states(homes("link")) == {"1": "running"}
    assert states(homes("home")) == {"1": "running"}
    assert homes("link").pid() == homes("home").pid()


def test_a_home_that_was_moved_while_no_daemon_ran(homes: Homes) -> None:
    with homes("home").client() as client:
        start(client, "sleep 100")
    homes("home").signal()
    os.rename(homes("home").home.path, homes("moved").home.path)
    assert states(homes("moved")) == {"1": "running"}
    with homes("moved").client() as client:
        assert client.call(p.StopJobs(ids=("1",)), timeout=30).reports[0].nothing_is_left


def test_a_copy_by_hard_links_is_refused(homes: Homes) -> None:
    with homes("home").client() as client:
        start(client, "sleep 100")
    homes("home").signal()
    copy = homes("copy").home.path
    subprocess.run(["cp", "-al", homes("home").home.path, copy], check=True)
    with pytest.raises(CorralError, match="hard link"):
        homes("copy").pid()
    shutil.rmtree(copy)
    assert states(homes("home")) == {"1": "running"}
