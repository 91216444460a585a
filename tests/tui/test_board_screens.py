"""What the board looks like: text snapshots, at the sizes that SCREENS draws and below."""

from __future__ import annotations

from pathlib import Path

import pytest

from corral_tui.settings.dashboard import Settings
from corral_tui.text.charset import ASCII, UNICODE
from tui.fake_jobs import (
    SIX_OUTPUTS,
    ended_job,
    job,
    many_jobs,
    paused_job,
    queued_job,
    six_jobs,
    stopping_job,
    three_hundred_jobs,
)
from tui.fake_source import FakeSource
from tui.screens import assert_snapshot, running, screen_text, shown

SIZES = [(160, 50), (80, 24), (40, 12)]


def six(tmp_path: Path) -> FakeSource:
    source = FakeSource(six_jobs(), home=str(tmp_path))
    for job_id, text in SIX_OUTPUTS.items():
        source.write_output(job_id, text)
    warnings = "pg_dump: warning: there are circular foreign-key constraints\npg_dump: detail: categories\n"
    source.write_output("3", warnings, stderr_of_stage=1)
    return source


def three_hundred(tmp_path: Path) -> FakeSource:
    source = FakeSource(three_hundred_jobs(), home=str(tmp_path))
    for number in (212, 213, 214, 219):
        source.write_output(str(number), f"frame= {8000 - number} fps= 33\rframe= {9000 - number} fps= 33")
    source.write_output("217", "/in/0217.mov: Invalid data found when processing input\n", stderr_of_stage=1)
    return source


@pytest.mark.parametrize("size", SIZES)
async def test_six_jobs(size: tuple[int, int], tmp_path: Path) -> None:
    async with running(six(tmp_path), size) as (app, _):
        assert_snapshot(app, f"six_{size[0]}x{size[1]}")


@pytest.mark.parametrize("size", SIZES)
async def test_three_hundred_jobs(size: tuple[int, int], tmp_path: Path) -> None:
    async with running(three_hundred(tmp_path), size) as (app, _):
        assert_snapshot(app, f"many_{size[0]}x{size[1]}")


@pytest.mark.parametrize("size", SIZES)
async def test_nothing_runs(size: tuple[int, int], tmp_path: Path) -> None:
    ended = [
        ended_job(7, "lint", "failed", took=12, command="ruff check ."),
        ended_job(8, "fetch-deps", took=62, command="npm ci"),
        ended_job(9, "vacuum", took=280, ended_ago=60, command='psql -c "vacuum analyze"'),
    ]
    async with running(FakeSource(ended, home=str(tmp_path)), size) as (app, _):
        assert_snapshot(app, f"nothing_{size[0]}x{size[1]}")


async def test_one_job_is_its_output(tmp_path: Path) -> None:
    source = FakeSource(six_jobs()[:1], home=str(tmp_path))
    source.write_output("1", SIX_OUTPUTS["1"])
    async with running(source) as (app, _):
        assert_snapshot(app, "one_80x24")


@pytest.mark.parametrize("charset", [UNICODE, ASCII])
async def test_every_kind_of_job(charset: type[object], tmp_path: Path) -> None:
    jobs = [
        *six_jobs()[:4],
        paused_job(10, "pax"),
        stopping_job(11, "stubborn"),
        queued_job(12, "later", "waits for job 4"),
        ended_job(13, "broken", "failed", reason="stage 1 (x) exited with 1"),
    ]
    source = FakeSource(jobs, home=str(tmp_path))
    async with running(source, (110, 36), charset=charset) as (app, _):  # type: ignore[arg-type]
        text = screen_text(app)
        assert_snapshot(app, f"kinds_{charset.name}_110x36")  # type: ignore[attr-defined]
        assert charset is UNICODE or text.isascii()


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (10, 3), (20, 5), (39, 11), (60, 8), (200, 4), (250, 80)])
@pytest.mark.parametrize("view", ["panels", "table"])
async def test_no_size_is_refused(size: tuple[int, int], view: str, tmp_path: Path) -> None:
    settings = Settings(view=view)  # type: ignore[arg-type]
    async with running(three_hundred(tmp_path), size, settings=settings) as (app, pilot):
        await pilot.press("G", "g", "pagedown", "ctrl+u", "j", "k", "l", "h", "i", "e", "v")
        lines = screen_text(app).splitlines()
        assert len(lines) <= size[1]


async def test_a_storm_of_resizes(tmp_path: Path) -> None:
    async with running(six(tmp_path), (160, 50)) as (app, pilot):
        before = screen_text(app)
        for width in (159, 120, 99, 80, 61, 40, 17, 5, 1, 44, 100, 133):
            await pilot.resize_terminal(width, max(width // 3, 1))
        await pilot.resize_terminal(160, 50)
        await shown(app, lambda text: text == before, "the screen as it was before")


async def test_a_thousand_jobs(tmp_path: Path) -> None:
    source = FakeSource(many_jobs(1000), home=str(tmp_path))
    async with running(source, (120, 40)) as (app, pilot):
        await pilot.press("G")
        text = screen_text(app)
        assert "idle-1000" in text
        assert "idle-0001" not in text
        assert "1000 running" in text
        looked_at = app.screen.board.visible_ids  # type: ignore[attr-defined]
        assert len(looked_at) < 60


HOSTILE = [
    "[/]",
    "[b]x[/b]",
    "a\x1b[31mb",
    "\x1b]0;title\x07c",
    "new\nline",
    "\u202egnp.exe",
    "e\u0301\u200b",
    "日本語の名前" * 9,
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("size", [(160, 50), (60, 20)])
async def test_hostile_text_is_data(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    jobs = [
        job(1, name, command=f"{name} | {name}", health="stuck", summary=name),
        job(2, name, state="queued", waiting_for=name),
        ended_job(3, name, "failed", reason=name, command=name),
    ]
    source = FakeSource(jobs, home=str(tmp_path))
    source.write_output("1", f"{name}\n".encode() + b"\xff\xfe\x9b31m [INFO] ok [/]\n")
    async with running(source, size) as (app, pilot):
        for key in ("v", "j", "j", "e", "v", "y", "question_mark", "escape", "colon", "escape"):
            await pilot.press(key)
        text = screen_text(app)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert len(text.splitlines()) == size[1]


async def test_no_color_loses_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with running(six(tmp_path), (160, 50)) as (app, _):
        assert app.no_color
        styles = [each.style for strip in app.screen._compositor.render_strips() for each in strip]
        assert not [each for each in styles if each and (each.color or each.bgcolor)]
        assert_snapshot(app, "six_160x50")
        reversed_texts = [
            segment.text
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            if segment.style is not None and segment.style.reverse
        ]
        assert "STUCK" in reversed_texts


@pytest.mark.parametrize("theme", ["corral-light", "ansi-dark", "nord", "textual-light"])
async def test_another_theme_changes_colours_only(theme: str, tmp_path: Path) -> None:
    async with running(six(tmp_path), (80, 24), settings=Settings(theme=theme)) as (app, _):
        assert app.theme == theme
        assert_snapshot(app, "six_80x24")
