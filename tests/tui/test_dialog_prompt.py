"""The prompt on the screen: checked as it is typed, completed, started, kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from textual.geometry import Size
from textual.widgets import Input

from corral.model.errors import CannotStartError
from corral.model.spec import InteractiveInput, JobInput, NullInput
from corral.protocol.requests import StartJobs
from corral_tui.dashboard.app import DashboardApp
from corral_tui.dashboard.paint.block_widgets import Block
from corral_tui.dashboard.prompt.draft import earlier_commands
from corral_tui.dashboard.prompt.fields import Cycle
from corral_tui.dashboard.prompt.prompt import PromptDialog, edited
from corral_tui.settings.dashboard import Settings
from corral_tui.settings.run_defaults import RunDefaults
from tui.fake_jobs import ended_job, job
from tui.fake_source import FakeSource
from tui.screens import board_of, running, screen_text, shown, until
from tui.settled import assert_settled_snapshot
from tui.test_board_screens import SIZES, six

PROGRAMS = ("zcat", "grep", "sort", "uniq", "sha256sum", "sorted")


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of our own with a few programs and files; nothing of this machine shows."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in PROGRAMS:
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    work = tmp_path / "work"
    (work / "logs").mkdir(parents=True)
    (work / "logs" / "a.txt").write_text("x" * 5000)
    (work / "top.txt").touch()
    os.truncate(work / "top.txt", 4_300_000)
    monkeypatch.setenv("PATH", "../bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(work)
    return work


async def prompted(app: DashboardApp, line: str = "", chain_onto: str | None = None) -> PromptDialog:
    """The prompt with this line in it, checked."""
    dialog = PromptDialog(app, chain_onto)
    app.show_dialog(dialog)
    await until(lambda: dialog.is_mounted and dialog.line.has_focus, "the focus in the line")
    if line:
        await typed(dialog, line)
    return dialog


async def typed(dialog: PromptDialog, line: str) -> None:
    dialog.line.value = line
    dialog.line.cursor_position = len(line)
    await until(lambda: dialog.check is not None and dialog.check.text == line, f"{line!r} to be checked")
    await until(lambda: dialog.query_one("#prompt-stages").lines is not None, "the stages")  # type: ignore[attr-defined]


def is_marked(text: str, sign: str = "*") -> bool:
    """Whether a mark stands right under the star, or what is to be there, of the line."""
    rows = text.splitlines()
    number = next((number for number, row in enumerate(rows) if "$ zcat" in row), None)
    return number is not None and rows[number + 1].find("^") == rows[number].find(sign) > 0


@pytest.mark.parametrize("size", SIZES)
async def test_a_line_that_needs_a_shell(size: tuple[int, int], tmp_path: Path) -> None:
    async with running(six(tmp_path), size) as (app, _):
        dialog = await prompted(app, "zcat `ls logs` | grep -v health | sort -k4 | uniq -c > top.txt")
        dialog.line.cursor_position = 0
        await shown(app, lambda text: is_marked(text, "`"), "the mark under the backquote")
        await assert_settled_snapshot(app, f"prompt_shell_{size[0]}x{size[1]}")


async def test_the_mark_stands_under_the_character(tmp_path: Path) -> None:
    async with running(six(tmp_path), (160, 50)) as (app, _):
        await prompted(app, "zcat logs/*.gz | sort")
        await shown(app, is_marked, "the mark under the star")


async def test_a_line_that_can_run_shows_its_stages_and_files(tmp_path: Path) -> None:
    async with running(six(tmp_path), (160, 50)) as (app, _):
        await prompted(app, "zcat logs/a.txt | sort > top.txt")
        text = await shown(app, lambda text: "emptied" in text and "the same as" in text, "the stages")
        assert "../bin/zcat" in text
        assert "> top.txt   ! 4.1M: emptied" in text
        assert "enter starts 2 stages" in text
        assert "the same as: corral run 'zcat logs/a.txt | sort > top.txt'" in text


async def test_enter_starts_it_with_the_dashboards_surroundings(surroundings: Path, tmp_path: Path) -> None:
    source = six(tmp_path)
    async with running(source) as (app, pilot):
        await prompted(app, "grep -v 'a b' | sort")
        await pilot.press("enter")
        await until(lambda: source.asked(StartJobs), "the request")
        await until(lambda: app.dialog is None, "the dialog to close")
        await until(
            lambda: board_of(app).job is not None and board_of(app).job.id == "10", "the new job selected"
        )
    request = source.asked(StartJobs)[0]
    assert request.surroundings.cwd == str(surroundings)
    assert request.surroundings.environment["PATH"] == os.environ["PATH"]
    (spec,) = request.specs
    assert [stage.argv for stage in spec.pipeline.stages] == [("grep", "-v", "a b"), ("sort",)]
    assert (spec.command, spec.origin, spec.stdin) == ("grep -v 'a b' | sort", "dashboard", NullInput())


async def test_what_words_become_is_shown_and_started(surroundings: Path, tmp_path: Path) -> None:
    source = six(tmp_path)
    (surroundings / "logs" / "b c.txt").touch()
    async with running(source, (160, 50)) as (app, pilot):
        await prompted(app, "A=~ zcat logs/*.txt $HOME | sort '*' > ~/out.txt")
        text = await shown(app, lambda text: "2 files" in text, "the stages")
        assert "1 zcat logs/a.txt 'logs/b c.txt' /" in text
        assert "logs/*.txt   2 files" in text
        await pilot.press("enter")
        await until(lambda: source.asked(StartJobs), "the request")
    (spec,) = source.asked(StartJobs)[0].specs
    first, second = spec.pipeline.stages
    assert first.argv == ("zcat", "logs/a.txt", "logs/b c.txt", str(tmp_path))
    assert first.assignments == (("A", str(tmp_path)),)
    assert second.argv == ("sort", "*")
    assert second.redirections[0].path == f"{tmp_path}/out.txt"
    assert spec.command == "A=~ zcat logs/*.txt $HOME | sort '*' > ~/out.txt"


@pytest.mark.parametrize(
    ("line", "position", "reason"),
    [
        ("sort | srt -k4", 7, "no such program: srt"),
        ("sort < nothing", 7, "no such file: nothing"),
        ("sort > no/where", 7, "no such directory: no"),
        ("sort > logs", 7, "logs is a directory"),
        ("sort | | uniq", 5, "nothing follows this pipe"),
        ("sort 'x", 5, "never closed"),
        ("logs/a.txt", 0, "logs/a.txt is not executable"),
        ("logs/a.txt", 0, "it is no program"),
        ("sort logs/*.gz", 10, '"logs/*.gz" matches no file in '),
        ('sort "$no_such/x"', 6, "$no_such is not set"),
        ("sort > *.txt", 7, "a redirection needs one"),
        ("~no-such-user/a", 0, 'no user is called "no-such-user"'),
        ("sort | $HOME/bin/nothing", 7, "no such file: "),
    ],
)
async def test_enter_on_a_wrong_line_goes_to_the_mark(
    line: str, position: int, reason: str, tmp_path: Path
) -> None:
    source = six(tmp_path)
    async with running(source, (160, 50)) as (app, pilot):
        dialog = await prompted(app, line)
        await shown(app, lambda text: reason in text, reason)
        await pilot.press("enter")
        await until(lambda: dialog.line.cursor_position == position, "the cursor at the mark")
    assert not source.asked(StartJobs)


async def test_ctrl_t_runs_the_whole_line_with_sh(tmp_path: Path) -> None:
    source = six(tmp_path)
    async with running(source) as (app, pilot):
        await prompted(app, "sort *.txt && uniq")
        await pilot.press("ctrl+t")
        await until(lambda: source.asked(StartJobs), "the request")
    (stage,) = source.asked(StartJobs)[0].specs[0].pipeline.stages
    assert stage.argv == ("/bin/sh", "-c", "sort *.txt && uniq")


async def test_letters_are_text_while_the_line_has_the_focus(tmp_path: Path) -> None:
    source = six(tmp_path)
    async with running(source) as (app, pilot):
        dialog = await prompted(app)
        await pilot.press("q", "s", "y", "Q", "x", "question_mark", "colon")
        assert dialog.line.value == "qsyQx?:"
        assert app.dialog is dialog
    assert not source.asked(StartJobs)


async def test_tab_completes_programs_then_files_then_goes_on(tmp_path: Path) -> None:
    async with running(six(tmp_path), (160, 50)) as (app, pilot):
        dialog = await prompted(app, "zc")
        await pilot.press("tab")
        await until(lambda: dialog.line.value == "zcat ", "the program")
        await typed(dialog, "zcat lo")
        await pilot.press("tab")
        await until(lambda: dialog.line.value == "zcat logs/", "the directory")
        await pilot.press("tab")
        await until(lambda: dialog.line.value == "zcat logs/a.txt ", "the file")
        await pilot.press("tab")
        await until(lambda: not dialog.line.has_focus, "the next field")


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("zcat ~/work/lo", "zcat ~/work/logs/"),
        ("zcat $HOME/work/lo", "zcat $HOME/work/logs/"),
        ('zcat "$HOME"/wo', 'zcat "$HOME"/work/'),
        ("zcat ~/od", "zcat ~/'odd $name' "),
        ('zcat "$HOME/od', "zcat \"$HOME/\"'odd $name' "),
        ("zcat 'in quotes/a", "zcat 'in quotes/'a.txt "),
        ("zcat 'in q", "zcat 'in quotes/'"),
        ("zcat < ~/od", "zcat < ~/'odd $name' "),
        ("~/bin/zc", "~/bin/zcat "),
    ],
)
async def test_tab_leaves_a_directory_as_it_is_typed(
    line: str, completed: str, surroundings: Path, tmp_path: Path
) -> None:
    (tmp_path / "odd $name").touch()
    (surroundings / "in quotes").mkdir()
    (surroundings / "in quotes" / "a.txt").touch()
    async with running(six(tmp_path), (160, 50)) as (app, pilot):
        dialog = await prompted(app, line)
        await pilot.press("tab")
        await until(lambda: dialog.line.value != line, "a completion")
        assert dialog.line.value == completed


async def test_tab_shows_what_it_could_be(tmp_path: Path) -> None:
    async with running(six(tmp_path), (160, 50)) as (app, pilot):
        dialog = await prompted(app, "so")
        await pilot.press("tab")
        await until(lambda: dialog.line.value == "sort", "what they share")
        await shown(app, lambda text: "sort  sorted" in text, "the candidates")
        await pilot.press("tab")
        await until(lambda: not dialog.line.has_focus, "the next field")


async def test_up_walks_through_earlier_commands(tmp_path: Path) -> None:
    jobs = [
        ended_job(1, "a", command="sort a"),
        ended_job(2, "b", command="uniq b"),
        ended_job(3, "c", command="sort a"),
    ]
    async with running(FakeSource(jobs, home=str(tmp_path))) as (app, pilot):
        dialog = await prompted(app, "typed")
        await pilot.press("up")
        assert dialog.line.value == "sort a"
        await pilot.press("up", "up")
        assert dialog.line.value == "uniq b"
        await pilot.press("down", "down")
        assert dialog.line.value == "typed"


async def test_esc_keeps_the_line(tmp_path: Path) -> None:
    async with running(six(tmp_path)) as (app, pilot):
        await prompted(app, "sort [/] half writ")
        await pilot.press("escape")
        await until(lambda: app.dialog is None, "the dialog to close")
        again = await prompted(app)
        assert again.line.value == "sort [/] half writ"


async def test_fields_reach_the_job(tmp_path: Path) -> None:
    source = six(tmp_path)
    async with running(source, (160, 50)) as (app, pilot):
        dialog = await prompted(app, "sha256sum")
        await pilot.press("tab")
        await until(lambda: dialog.query_one("#name").has_focus, "the focus in the name")
        await pilot.press(*"nightly", "tab", "right", "tab", "right", "tab", *"5m", "tab", *"90")
        await shown(
            app, lambda text: "--timeout 5m" in text and "--name nightly" in text, "the same as a command"
        )
        assert dialog.line.value == "sha256sum"
        await pilot.press("enter")
        await until(lambda: source.asked(StartJobs), "the request")
    (spec,) = source.asked(StartJobs)[0].specs
    assert (spec.name, spec.timeout, spec.stuck_after) == ("nightly", 300.0, 90.0)
    assert spec.after == ("6",)
    assert spec.stdin == InteractiveInput()


async def test_a_field_that_makes_no_sense_starts_nothing(tmp_path: Path) -> None:
    source = six(tmp_path)
    async with running(source) as (app, pilot):
        dialog = await prompted(app, "sort")
        dialog.query_one("#timeout").value = "soon"  # type: ignore[attr-defined]
        await pilot.press("enter")
        await shown(app, lambda text: "not a duration: 'soon'" in text, "the error")
        assert dialog.query_one("#timeout").has_focus
    assert not source.asked(StartJobs)


async def test_the_directory_can_be_changed(surroundings: Path, tmp_path: Path) -> None:
    source = six(tmp_path)
    async with running(source) as (app, pilot):
        dialog = await prompted(app, "sort < a.txt")
        await until(lambda: dialog.check is not None and dialog.check.finding is not None, "no such file")
        dialog.query_one("#directory").value = "logs"  # type: ignore[attr-defined]
        await until(lambda: dialog.check is not None and dialog.check.finding is None, "the file to be found")
        await pilot.press("enter")
        await until(lambda: source.asked(StartJobs), "the request")
    assert source.asked(StartJobs)[0].surroundings.cwd == str(surroundings / "logs")


async def test_what_the_daemon_refuses_is_said_and_the_line_stays(tmp_path: Path) -> None:
    source = six(tmp_path)
    source.answers[StartJobs] = CannotStartError("stage 1: no such program: sort [/]", 127, "10")
    async with running(source) as (app, pilot):
        dialog = await prompted(app, "sort")
        await pilot.press("enter")
        await shown(app, lambda text: "no such program: sort [/]" in text, "the error")
        assert dialog.line.value == "sort"


@pytest.mark.parametrize("size", SIZES)
async def test_chain_onto_a_job(size: tuple[int, int], tmp_path: Path) -> None:
    async with running(six(tmp_path), size) as (app, _):
        await prompted(app, "sha256sum", "3")
        await shown(app, lambda text: "1 sha256sum" in text or "1  sha256sum" in text, "the stage")
        # The directory is a temporary one of changing length: the snapshot is of what stands below the line.
        text = screen_text(app)
        assert "Chain onto 3 nightly-dump" in text
        assert "(•) now, fed live" in text
        assert "( ) once 3 succeeded, without it" in text
        assert "! 3 has printed nothing on stdout yet" in text


@pytest.mark.parametrize(
    ("steps", "after", "stdin"),
    [(0, (), JobInput("3")), (1, ("3",), JobInput("3")), (2, ("3",), NullInput())],
)
async def test_the_three_ways_to_chain(
    steps: int, after: tuple[str, ...], stdin: object, tmp_path: Path
) -> None:
    source = six(tmp_path)
    async with running(source) as (app, pilot):
        dialog = await prompted(app, "sha256sum", "3")
        dialog.query_one("#chain").focus()
        await pilot.press(*["right"] * steps, "enter")
        await until(lambda: source.asked(StartJobs), "the request")
    (spec,) = source.asked(StartJobs)[0].specs
    assert (spec.after, spec.stdin) == (after, stdin)


async def test_hostile_names_and_lines_are_text(tmp_path: Path) -> None:
    jobs = [
        job(1, "[/]\x1b[31m", command="echo \x1b]0;x\x07"),
        job(2, "two", command="sort [/][@click=app.quit]x"),
    ]
    async with running(FakeSource(jobs, home=str(tmp_path)), (160, 50)) as (app, pilot):
        dialog = await prompted(app, chain_onto="1")
        await pilot.press("up")
        assert dialog.line.value == "sort [/][@click=app.quit]x"
        text = await shown(app, lambda text: "1  sort" in text or "Corral uses none" in text, "the check")
        assert "\x1b" not in text


def test_the_editor_gives_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nprintf '%s\\n' 'sort |' 'uniq \\' '  -c' > \"$1\"\n")
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    assert edited("sort") == "sort | uniq   -c"


async def test_a_terminal_that_cannot_be_handed_over_says_so(tmp_path: Path) -> None:
    async with running(six(tmp_path)) as (app, pilot):
        await prompted(app, "sort")
        await pilot.press("ctrl+o")
        await shown(app, lambda text: "no editor can be opened in this terminal" in text, "the refusal")


async def test_pty_gives_the_job_a_terminal_as_large_as_ours(tmp_path: Path) -> None:
    source = six(tmp_path)
    async with running(source, (160, 50)) as (app, pilot):
        dialog = await prompted(app, "sort")
        dialog.query_one("#pty", Cycle).put("on")
        await shown(app, lambda text: "the same as: corral run --pty 'sort'" in text, "the command")
        dialog.query_one("#stdin", Cycle).put("open")
        await pilot.press("enter")
        await shown(app, lambda text: "a job with a terminal reads from it" in text, "why not")
        assert not source.asked(StartJobs)
        dialog.query_one("#stdin", Cycle).put("none")
        await pilot.press("enter")
        await until(lambda: source.asked(StartJobs), "the request")
    (spec,) = source.asked(StartJobs)[0].specs
    assert (spec.pty, spec.terminal_size, spec.stdin) == (True, (160, 50), NullInput())


async def test_when_it_is_stuck_and_what_happens_then_come_from_the_settings(tmp_path: Path) -> None:
    source = six(tmp_path)
    settings = Settings(run=RunDefaults(stuck_after=300.0, on_stuck="stop"))
    async with running(source, (160, 50), settings=settings) as (app, pilot):
        dialog = await prompted(app, "sort")
        await shown(app, lambda text: "stuck after 5m" in text and "then stop it" in text, "the settings")
        await shown(app, lambda text: "the same as: corral run 'sort'" in text, "the command")
        await pilot.press("enter")
        await until(lambda: source.asked(StartJobs) and app.dialog is None, "the request")
        dialog = await prompted(app, "sort")
        dialog.query_one("#stuck", Input).value = "10s"
        dialog.query_one("#on_stuck", Cycle).put("mark")
        said = "the same as: corral run --stuck-after 10s --on-stuck mark 'sort'"
        await shown(app, lambda text: said in text, "the command")
        await pilot.press("enter")
        await until(lambda: len(source.asked(StartJobs)) == 2, "the request")
    specs = [request.specs[0] for request in source.asked(StartJobs)]
    assert [(spec.stuck_after, spec.on_stuck) for spec in specs] == [(300.0, "stop"), (10.0, "mark")]


def test_a_short_line_that_became_a_long_one_can_be_had_again() -> None:
    jobs = [
        job(1, "one", command="cat *.txt", cut=True),
        job(2, "two", command="cat a b c…", cut=True),
        job(3, "three", command="sort x"),
    ]
    assert [each.text for each in earlier_commands(jobs)] == ["sort x", "cat *.txt"]


async def test_a_prompt_that_closes_can_still_be_painted(tmp_path: Path) -> None:
    """Its parts go one by one, and a resize or a clock may ask for a row between two of them."""
    async with running(six(tmp_path), (160, 40)) as (app, _):
        dialog = await prompted(app, "sort")
        blocks = list(dialog.query(Block))
        app.close_dialog()
        await until(lambda: not dialog.query("#with_sh"), "the fields are gone")
        assert all(block.get_content_height(Size(150, 40), Size(150, 40), 150) >= 0 for block in blocks)
        assert dialog.with_shell is False


@pytest.mark.parametrize("key", ["j", "k", "h", "l"])
async def test_no_key_ends_the_program_where_a_field_has_no_use_for_it(tmp_path: Path, key: str) -> None:
    async with running(six(tmp_path), (160, 40)) as (app, pilot):
        dialog = await prompted(app, "sort")
        dialog.query_one("#pty").focus()
        await pilot.press(key)
        assert app.dialog is dialog
        assert app.is_running
