"""Whether pids of the past mean anything."""

from __future__ import annotations

import os
import subprocess

import pytest

from corral.platform.process import boot_id
from corral.platform.process.boot_id import Boot
from corral.platform.process.identity import identify
from until import python, running, until


def test_it_is_the_same_for_every_process_of_this_machine_and_survives_text() -> None:
    now = boot_id.current()
    assert boot_id.current() == boot_id.parse(now.text) == now
    assert now.id
    assert now.difference(now) is None


@pytest.mark.parametrize(
    ("before", "now", "difference"),
    [
        (Boot("a", 1), Boot("b", 1), "boot"),
        (Boot("a", 1), Boot("b", 2), "boot"),
        (Boot("a", 1), Boot("a", 2), "namespace"),
        (Boot(), Boot("a", 1), None),
        (Boot("a", 0), Boot("a", 2), None),
        (Boot("1700000000", 0), Boot("1700000120", 0), None),
        (Boot("1700000000", 0), Boot("1700004000", 0), "boot"),
    ],
)
def test_another_boot_outweighs_another_namespace_and_the_unknown_is_no_difference(
    before: Boot, now: Boot, difference: str | None
) -> None:
    assert before.difference(now) == difference


@pytest.mark.parametrize("text", [None, "", "one", "a b", "a 1 2"])
def test_what_cannot_be_read_is_not_known(text: str | None) -> None:
    assert boot_id.parse(text) == Boot()


def test_another_pid_namespace_is_seen() -> None:
    code = "from corral.platform.process import boot_id; print(boot_id.current().text)"
    argv = ["unshare", "-pf", "--mount-proc", *python(code)[:1], "-c", code]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    if ended.returncode and "unshare" in ended.stderr:
        pytest.skip("namespaces are not to be had here")
    assert boot_id.parse(ended.stdout).difference(boot_id.current()) == "namespace"


def test_an_age_is_that_of_the_process() -> None:
    with running(*python("input()"), stdin=subprocess.PIPE) as process:
        young, own = identify(process.pid), identify(os.getpid())
        assert young is not None
        assert own is not None
        assert 0 <= boot_id.age(young) < boot_id.age(own)
        until(lambda: boot_id.age(young) > 0.02, "it to grow older")
