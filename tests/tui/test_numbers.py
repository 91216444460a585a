"""Numbers in cells of fixed width, names cut in the middle."""

from __future__ import annotations

import pytest

from corral_tui.text import numbers


@pytest.mark.parametrize(
    ("percent", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.04, "0"),
        (0.4, "0.4"),
        (9.8, "9.8"),
        (9.96, "10"),
        (99, "99"),
        (780, "780"),
        (1234, "1.2k"),
    ],
)
def test_cpu(percent: float | None, text: str) -> None:
    assert numbers.cpu(percent) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, "-"),
        (0, "0"),
        (96, "96"),
        (812 * 1024, "812K"),
        (int(2.1 * 2**20), "2.1M"),
        (38 << 20, "38M"),
        (int(6.2 * 2**30), "6.2G"),
        (1023 << 20, "1.0G"),
    ],
)
def test_size(amount: int | None, text: str) -> None:
    assert numbers.size(amount) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0s"),
        (0.4, "0.4s"),
        (12, "12s"),
        (59.9, "59s"),
        (250, "4m10s"),
        (7389, "2h03m"),
        (3 * 86400 + 4 * 3600, "3d04h"),
        (2000 * 86400, "2000d"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize("value", [10**exponent * 9.99 for exponent in range(16)])
def test_no_cell_is_wider_than_its_column(value: float) -> None:
    assert len(numbers.size(value)) <= 5
    assert len(numbers.rate(value)) <= 7
    assert len(numbers.cpu(min(value, 1e12))) <= 4
    assert len(numbers.duration(min(value, 1e9))) <= 6


def test_a_name_keeps_its_end() -> None:
    assert numbers.cut_middle("nightly-dump", 11) == "nightly-…mp"
    assert numbers.cut_middle("train", 10) == "train"


@pytest.mark.parametrize("cut", [numbers.cut_end, numbers.cut_start, numbers.cut_middle])
@pytest.mark.parametrize("width", range(12))
@pytest.mark.parametrize("text", ["plain words here", "日本語の名前です", "a日b本c語d", ""])
def test_nothing_is_wider_than_asked(cut: object, width: int, text: str) -> None:
    assert numbers.cells(cut(text, width)) <= width  # type: ignore[operator]


def test_counted() -> None:
    assert numbers.counted(1, "process") == "1 process"
    assert numbers.counted(12, "process") == "12 processes"
    assert numbers.counted(3, "stage") == "3 stages"


def test_a_share_of_a_core_has_its_unit_only_where_it_is_known() -> None:
    assert [numbers.cpu_share(percent) for percent in (None, 0.0, 9.84, 1234.0)] == [
        "-",
        "0%",
        "9.8%",
        "1.2k%",
    ]
