"""How people write sizes."""

import pytest

from corral.model.errors import UsageError
from corral.model.units import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("64K", 65536),
        ("64k", 65536),
        ("64KiB", 65536),
        ("64kB", 64000),
        ("1.5M", 3 << 19),
        (".5G", 1 << 29),
        ("2 T", 2 << 40),
        ("100B", 100),
    ],
)
def test_a_size_is_read_as_the_gnu_tools_read_it(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "K", "-1", "1e9", "3x", "1.2.3", "none", "9999999999T", "1 0"])
def test_what_is_no_size_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(UsageError, match="size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0"), (1, "1"), (1024, "1K"), (1 << 30, "1G"), ((1 << 30) + 1, "1073741825")]
)
def test_a_size_is_written_so_that_it_reads_the_same(size: int, text: str) -> None:
    assert format_size(size) == text
    assert parse_size(text) == size
