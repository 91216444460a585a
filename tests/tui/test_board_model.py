"""Which jobs are shown, in which order, and what stays selected."""

from __future__ import annotations

from datetime import timedelta

from msgspec import structs

from corral.client.snapshot import Snapshot
from corral.model.job import Job
from corral_tui.dashboard.board.order_and_selection import Model
from tui.fake_jobs import NOW, Clock, ended_job, job, queued_job, six_jobs, stuck_job, three_hundred_jobs


def snapshot(jobs: list[Job], rev: int = 1) -> Snapshot:
    return Snapshot(rev=rev, jobs={each.id: each for each in jobs})


def model_of(jobs: list[Job]) -> Model:
    model = Model(snapshot(jobs))
    model.arrange(NOW)
    return model


def ids(model: Model) -> list[str]:
    return [each.id for each in model.shown]


def test_jobs_that_ended_well_are_folded() -> None:
    model = model_of(six_jobs())
    assert ids(model) == ["1", "2", "3", "4", "5", "6"]
    assert [each.id for each in model.folded] == ["7", "8", "9"]
    model.show_ended(True, NOW)
    assert ids(model) == [str(number) for number in range(1, 10)]


def test_what_was_taken_off_the_list_is_not_shown_at_all() -> None:
    model = model_of([job(1, "a"), ended_job(2, "b", "failed", hidden=True)])
    assert ids(model) == ["1"]
    assert model.urgent() == []


def test_a_job_that_ends_under_the_eyes_stays_till_its_room_is_needed() -> None:
    model = model_of([job(1, "a"), job(2, "b")])
    model.capacity = 2
    model.apply(snapshot([ended_job(1, "a"), job(2, "b")], 2), NOW)
    assert ids(model) == ["1", "2"]
    model.select("2")
    model.apply(snapshot([ended_job(1, "a"), job(2, "b"), job(3, "c")], 3), NOW)
    assert ids(model) == ["2", "3"]
    assert [each.id for each in model.folded] == ["1"]


def test_a_failed_one_stays_whatever_the_room() -> None:
    model = model_of([job(1, "a"), job(2, "b")])
    model.capacity = 1
    model.apply(snapshot([ended_job(1, "a", "failed"), job(2, "b")], 2), NOW)
    assert ids(model) == ["1", "2"]


def test_the_selection_is_bound_to_the_job_not_to_the_row() -> None:
    model = model_of([job(1, "a"), job(2, "b"), job(3, "c")])
    model.select("2")
    model.apply(snapshot([job(2, "b"), job(3, "c")], 2), NOW)
    assert model.selected_id == "2"
    model.apply(snapshot([job(3, "c")], 3), NOW)
    assert model.selected_id == "3"


def test_a_moving_order_holds_still_under_the_hand() -> None:
    first = [job(1, "a", cpu_percent=10.0), job(2, "b", cpu_percent=90.0)]
    then = [job(1, "a", cpu_percent=95.0), job(2, "b", cpu_percent=5.0)]
    model = model_of(first)
    model.sort_by("cpu", NOW)
    assert ids(model) == ["2", "1"]
    model.apply(snapshot(then, 2), NOW + timedelta(seconds=1))
    assert ids(model) == ["2", "1"]
    model.touch(NOW + timedelta(seconds=3))
    model.apply(snapshot(then, 3), NOW + timedelta(seconds=5))
    assert ids(model) == ["2", "1"]
    model.apply(snapshot(then, 4), NOW + timedelta(seconds=7))
    assert ids(model) == ["1", "2"]


def test_the_same_column_again_turns_the_order_round() -> None:
    model = model_of([job(1, "b"), job(2, "a")])
    model.sort_by("name", NOW)
    assert ids(model) == ["2", "1"]
    model.sort_by("name", NOW)
    assert ids(model) == ["1", "2"]


def test_the_filter_finds_folded_jobs_and_counts() -> None:
    model = model_of(six_jobs())
    model.filter_by("lint", NOW)
    assert ids(model) == ["7"]
    assert model.matches() == 1
    model.filter_by("", NOW)
    assert len(ids(model)) == 6


def test_marked_jobs_that_the_filter_hides_are_counted() -> None:
    model = model_of(six_jobs())
    model.select("1")
    model.toggle_mark()
    model.filter_by("build", NOW)
    assert len(model.hidden_marked) == 1
    assert [each.id for each in model.marked] == ["1"]


def test_urgent_first_the_longest_stuck_then_what_failed() -> None:
    model = model_of(
        [ended_job(1, "a", "failed"), stuck_job(2, "b", "x", since=10), stuck_job(3, "c", "y", since=90)]
    )
    assert [each.id for each in model.urgent()] == ["3", "2", "1"]


def test_what_was_stopped_as_stuck_is_not_folded_away() -> None:
    """Ended at night by `--on-stuck stop`: in the morning it has to be seen."""
    ended = ended_job(2, "night", "stopped", reason="stuck: cat waits for input")
    model = model_of([job(1, "a"), ended, ended_job(3, "mine", "stopped", reason="stopped by corral stop")])
    assert ids(model) == ["1", "2"]
    assert [each.id for each in model.urgent()] == ["2"]


def test_the_next_that_needs_a_human_goes_round_and_looks_at_failures() -> None:
    model = model_of(three_hundred_jobs())
    chosen = [model.next_urgent(), model.next_urgent(), model.next_urgent()]
    assert [each.id for each in chosen if each] == ["214", "217", "214"]
    assert [each.id for each in model.urgent()] == ["214"]


def test_from_a_failure_that_was_selected_anyhow_the_next_is_the_most_urgent() -> None:
    failed = [ended_job(1, "a", "failed", ended_ago=30), ended_job(2, "b", "failed", ended_ago=60)]
    model = model_of([*failed, stuck_job(3, "c", "x", since=10)])
    assert model.selected_id == "1"
    chosen = [model.next_urgent(), model.next_urgent(), model.next_urgent()]
    assert [each.id for each in chosen if each] == ["3", "2", "3"]


def test_nothing_runs_lists_what_ended_newest_first() -> None:
    model = model_of([ended_job(1, "a", ended_ago=900), ended_job(2, "b", "failed", ended_ago=100)])
    assert model.is_empty
    assert ids(model) == ["2", "1"]


def test_what_ended_a_moment_ago_is_not_nothing() -> None:
    model = model_of([job(1, "a")])
    model.apply(snapshot([ended_job(1, "a")], 2), NOW)
    assert not model.is_empty
    assert ids(model) == ["1"]


def test_leftovers_of_an_ended_job_keep_it_in_view() -> None:
    model = model_of([structs.replace(ended_job(1, "a"), leftovers=2), queued_job(2, "b", "later")])
    assert ids(model) == ["1", "2"]


def test_stuck_jobs_come_first_by_status_and_the_list_holds_still_under_the_hand() -> None:
    clock = Clock()
    jobs = [job(1, "a"), ended_job(2, "b", "failed"), job(3, "c"), stuck_job(4, "d", "waits")]
    model = Model(Snapshot(rev=1, jobs={each.id: each for each in jobs}))
    model.sort_by("status", clock())
    assert [each.id for each in model.shown] == ["4", "2", "1", "3"]
    model.touch(clock())
    jobs[2] = stuck_job(3, "c", "waits")
    model.apply(Snapshot(rev=2, jobs={each.id: each for each in jobs}), clock())
    assert [each.id for each in model.shown] == ["4", "2", "1", "3"]
    clock.go_on(3.0)
    model.arrange(clock())
    assert [each.id for each in model.shown] == ["3", "4", "2", "1"]
