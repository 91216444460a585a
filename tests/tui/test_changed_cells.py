"""What of the screen has changed is painted so that the terminal shows the same, with few bytes."""

from __future__ import annotations

import pyte
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate
from textual.strip import Strip

from corral_tui.dashboard.frame.changed_cells import ChangedCells, smaller
from corral_tui.dashboard.paint.row_widget import Row, changed

WIDTH, HEIGHT = 12, 3
CONSOLE = Console(color_system="truecolor", force_terminal=True)
STYLES = (
    None,
    Style(color="#ff0000"),
    Style(color="#ff0000", bold=True),
    Style(bgcolor="#0000ff", reverse=True),
)

cells = st.lists(st.tuples(st.sampled_from("ab▁ "), st.sampled_from(STYLES)), min_size=WIDTH, max_size=WIDTH)
screens = st.lists(cells, min_size=HEIGHT, max_size=HEIGHT)
regions = st.lists(
    st.tuples(st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1), st.integers(1, WIDTH)).map(
        lambda span: (span[0], span[1], min(span[1] + span[2], WIDTH))
    ),
    min_size=1,
    max_size=HEIGHT,
    unique_by=lambda span: span[0],
).map(sorted)


def update(kind: type[ChopsUpdate], screen, spans, cut: int) -> ChopsUpdate:
    """Of a screen with two widgets side by side."""
    chops = []
    for line in screen:
        strip = Strip([Segment(letter, style) for letter, style in line], WIDTH)
        chops.append({0: strip.crop(0, cut), cut: strip.crop(cut, WIDTH)})
    return kind(chops, spans, [[cut, WIDTH]] * HEIGHT)


def seen(*texts: str) -> list[object]:
    terminal = pyte.Screen(WIDTH, HEIGHT)
    stream = pyte.Stream(terminal)
    for text in texts:
        stream.feed(text)
    return [terminal.buffer[y][x] for y in range(HEIGHT) for x in range(WIDTH)]


@given(screens, screens, regions, st.integers(1, WIDTH - 1))
def test_the_screen_is_the_same(before, after, spans, cut):
    everything = [(y, 0, WIDTH) for y in range(HEIGHT)]
    changed = [list(line) for line in before]
    for y, first, last in spans:
        changed[y][first:last] = after[y][first:last]
    whole = [
        update(ChopsUpdate, screen, everything, cut).render_segments(CONSOLE) for screen in (before, changed)
    ]
    part = update(ChangedCells, changed, spans, cut).render_segments(CONSOLE)
    assert seen(whole[0], part) == seen(whole[1])
    assert len(part) <= len(update(ChopsUpdate, changed, spans, cut).render_segments(CONSOLE)) + 8 * len(
        spans
    )


def test_only_what_has_changed_is_sent_and_a_colour_once():
    grey = Style(color="#808080")
    line = [(letter, grey) for letter in "name     12s"]
    screen = [line, line, line]
    spans = [(y, 9, 12) for y in range(HEIGHT)]
    text = update(ChangedCells, screen, spans, 6).render_segments(CONSOLE)
    assert text == "\x1b[1;10H\x1b[38;2;128;128;128m12s\x1b[2;10H12s\x1b[3;10H12s\x1b[0m"


def test_a_link_ends_where_its_text_ends():
    linked = [("x", Style(link="https://example.org"))] * WIDTH
    text = update(ChangedCells, [linked] * HEIGHT, [(0, 0, 2)], 6).render_segments(CONSOLE)
    assert text.count("\x1b]8;;\x1b\\") == 2


def test_all_else_is_displayed_as_it_is():
    assert smaller(None) is None
    assert smaller("x") == "x"
    assert (
        type(smaller(update(ChopsUpdate, [[("x", None)] * WIDTH] * HEIGHT, [(0, 0, 1)], 6))) is ChangedCells
    )


pieces = st.lists(
    st.tuples(st.sampled_from(["a", "b", "cc", "ddd", "eeeeeeee"]), st.sampled_from(["text", "key"])),
    max_size=5,
)


@given(pieces, pieces, st.integers(1, WIDTH))
def test_what_differs_between_two_rows_is_painted_on_a_screen_that_is_narrower_too(before, after, width):
    old, new = (
        [(letter, look) for text, look in line for letter in text] + [(" ", "text")] * width
        for line in (before, after)
    )
    region = changed(Row(tuple(before)), Row(tuple(after)), 0, width)
    differing = {x for x in range(width) if old[x][0] != new[x][0] or (old[x] != new[x] and old[x][0] != " ")}
    assert differing <= set(range(region.x, region.right))
