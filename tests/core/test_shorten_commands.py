"""Lists with huge commands fit into a line, and nothing is cut where all fit."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.protocol.shorten_commands import fit
from journals import ended, spec

WORDS = st.one_of(
    st.text(max_size=40), st.integers(1, 4000).map(lambda size: "\x00" * size), st.just("é" * 900)
)


def job(number: int, words: list[str]):  # type: ignore[no-untyped-def]
    return ended(number, spec(*words or ["true"]))


@settings(max_examples=40)
@given(st.lists(st.lists(WORDS, max_size=3), min_size=1, max_size=8))
def test_the_longest_are_cut_and_all_fit(commands: list[list[str]]) -> None:
    jobs = [job(number, words) for number, words in enumerate(commands, 1)]
    assert fit(jobs) == tuple(jobs)
    most = 6000
    cut = fit(jobs, most)
    assert [one.id for one in cut] == [one.id for one in jobs]
    bare = [msgspec.structs.replace(one, command="", stages=()) for one in jobs]
    stages = sum(len(one.stages) for one in jobs)
    # Beside the text a stage has its other fields, and a name of at most 255 letters.
    assert len(msgspec.json.encode(cut)) <= len(msgspec.json.encode(bare)) + most + stages * (600 + 255 * 6)
    for one, whole in zip(cut, jobs, strict=True):
        assert whole.command.startswith(one.command.removesuffix("…"))
        assert len(one.stages) == len(whole.stages)


def test_short_ones_stay_as_they_are() -> None:
    jobs = [job(1, ["x" * 100_000]), *(job(number, ["true"]) for number in range(2, 50))]
    cut = fit(jobs, 10_000)
    assert cut[1:] == tuple(jobs[1:])
    assert cut[0].command.endswith("…")
    assert cut[0].stages[0].argv[0].endswith("…")
    assert 500 < len(cut[0].command) < 5000
