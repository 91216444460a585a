"""The board as panels: one a job, from three rows up; framed where there is room for frames."""

from __future__ import annotations

from collections.abc import Sequence

from textual.geometry import Region

from corral.model.job import Job
from corral.model.urgency import ended_badly, is_stuck
from corral_tui.dashboard.board.view_state import BoardMap, ViewState
from corral_tui.dashboard.paint.batch_lines import batch_lines, progress_line
from corral_tui.dashboard.paint.job_words import end_reason, title
from corral_tui.dashboard.paint.lines import Span, Spans, clean, padded, width_of, wrapped
from corral_tui.dashboard.paint.pipeline_line import draw_pipeline
from corral_tui.dashboard.paint.row_widget import EMPTY, Row
from corral_tui.text.charset import Role, Status, stuck_label
from corral_tui.text.lost_output import truncated_in_short
from corral_tui.text.numbers import cells, counted, cpu_share, cut_middle, rate, right, size, whole_duration

TWO_COLUMNS = 100
"""From this width on panels stand side by side and may have frames."""
LEAST_HEIGHT = 3
FRAMED_HEIGHT = 6
COMFORTABLE_HEIGHT = 7
WHOLE_VIEW = 12
"""So many panels are still seen as a whole."""


def column_count(width: int, number: int) -> int:
    return 2 if width >= TWO_COLUMNS and number > 1 else 1


def capacity(width: int, height: int) -> int:
    """How many jobs fit as panels."""
    if width < TWO_COLUMNS:
        return max(height // LEAST_HEIGHT, 1) if width >= 60 else 1
    return max(min(WHOLE_VIEW, 2 * (height // LEAST_HEIGHT)), 2 * (height // COMFORTABLE_HEIGHT), 2)


def panel_height(width: int, height: int, number: int) -> int:
    """The height of each of `number` panels: what is there is shared; more than fit have to be scrolled."""
    lines_of_panels = -(-max(number, 1) // column_count(width, number))
    least = LEAST_HEIGHT if height < COMFORTABLE_HEIGHT * 2 or width < TWO_COLUMNS else FRAMED_HEIGHT
    if number <= capacity(width, height):
        least = LEAST_HEIGHT
    return min(max(height // lines_of_panels, least), max(height, 1))


def draw_panels(view_state: ViewState, width: int, height: int, offset: int) -> tuple[list[Row], BoardMap]:
    """`height` rows; `offset` counts lines of panels."""
    jobs = view_state.model.shown
    columns = column_count(width, len(jobs))
    tall = panel_height(width, height, len(jobs))
    rows: list[Row] = []
    places: dict[str, Region] = {}
    for first in range(offset * columns, len(jobs), columns):
        room = min(tall, height - len(rows))
        if room <= 0:
            break
        side_by_side = []
        for number, job in enumerate(jobs[first : first + columns]):
            x, panel_width = _column(number, columns, width)
            places[job.id] = Region(x, len(rows), panel_width, room)
            side_by_side.append(draw_panel(view_state, job, panel_width, tall)[:room])
        rows += _beside(side_by_side, columns, width, room)
    rows += [EMPTY] * (height - len(rows))
    return rows, BoardMap(places)


def _column(number: int, columns: int, width: int) -> tuple[int, int]:
    """Where the column of that number begins, and how wide it is."""
    each = width // columns
    return number * each, each if number + 1 < columns else width - each * number


def _beside(panels: Sequence[list[Spans]], columns: int, width: int, height: int) -> list[Row]:
    if len(panels) == 1 and columns == 2:
        blank: Spans = ((" " * _column(1, 2, width)[1], "plain"),)
        panels = [panels[0], [blank] * height]
    return [Row(tuple(piece for panel in panels for piece in panel[y])) for y in range(height)]


def draw_panel(view_state: ViewState, job: Job, width: int, height: int) -> list[Spans]:
    """Exactly `height` lines of exactly `width` cells."""
    is_framed = width >= TWO_COLUMNS // 2 - 2 and height >= FRAMED_HEIGHT and _is_wide(view_state, width)
    is_selected = job.id == view_state.model.selected_id
    status = view_state.status(job)
    role: Role = "rule-selected" if is_selected else ("rule-stuck" if status.is_stuck else "rule")
    inside = width - 4 if is_framed else width - 1
    lines = [_head(view_state, job, status, width, is_selected, is_framed, role)]
    body_height = height - 2 if is_framed else height - 1
    body = _body(view_state, job, inside, max(body_height, 0), is_framed=is_framed)
    ellipsis = view_state.charset.ellipsis
    if not is_framed:
        lines += [((" ", "plain"), *padded(line, inside, ellipsis)) for line in body]
        return lines[:height]
    side = (view_state.charset.heavy_frame if is_selected else view_state.charset.frame)[4]
    for line in body:
        lines.append(((side + " ", role), *padded(line, inside, ellipsis), (" " + side, role)))
    lines.append(_foot(view_state, job, width, is_selected, role))
    return lines


def _is_wide(view_state: ViewState, width: int) -> bool:
    """Frames from 100 columns of the screen on: one column of two, or the only one."""
    return width >= TWO_COLUMNS or (len(view_state.model.shown) > 1 and width >= TWO_COLUMNS // 2)


# ---- frame ----------------------------------------------------------------------------------------------------------


def _head(
    view_state: ViewState,
    job: Job,
    status: Status,
    width: int,
    is_selected: bool,
    is_framed: bool,
    role: Role,
) -> Spans:
    """`─ ● 1 train ───────── active   2h03m ─`"""
    charset = view_state.charset
    rule = charset.heavy_rule if is_selected else charset.rule
    corners = (charset.heavy_frame if is_selected else charset.frame) if is_framed else None
    before = corners[0] + rule if corners else rule
    after = rule + corners[1] if corners else rule
    mark: list[Span] = [*stuck_label(charset)] if status.is_stuck else [(status.mark, status.mark_role)]
    marked: list[Span] = [(" *", "marked")] if job.id in view_state.model.marks else []
    word = status.word
    if status.since is not None:
        word = f"{status.short} {whole_duration((view_state.now - status.since).total_seconds())}"
    tail: list[Span] = [
        (" ", "plain"),
        (word, "warning" if status.is_stuck else status.role),
        (" " + right(view_state.time(job), 7) + " ", "plain"),
        (after, role),
    ]
    room = width - cells(before) - 1 - width_of(mark) - width_of(marked) - width_of(tail) - 4 - len(job.id)
    name = cut_middle(title(job), max(room, 4), charset.ellipsis)
    head: list[Span] = [
        (before + " ", role),
        *mark,
        *marked,
        (f" {job.id} ", "muted"),
        (name, "title" if not job.is_ended or ended_badly(job) else "muted"),
        (" ", "plain"),
    ]
    missing = max(width - width_of(head) - width_of(tail), 0)
    return padded((*head, (rule * missing, role), *tail), width, "")


def _foot(view_state: ViewState, job: Job, width: int, is_selected: bool, role: Role) -> Spans:
    """`╰─ 3 stages · 3 processes ───╯`"""
    charset = view_state.charset
    rule = charset.heavy_rule if is_selected else charset.rule
    frame = charset.heavy_frame if is_selected else charset.frame
    parts = [counted(len(job.stages), "stage")] if len(job.stages) > 1 else []
    if not job.is_ended and job.state != "queued":
        parts.append(counted(job.processes, "process"))
    if job.leftovers:
        parts.append(f"{counted(job.leftovers, 'process')} left over")
    if job.in_doubt:
        parts.append(f"{counted(job.in_doubt, 'process')} in doubt")
    dot = f" {charset.dot} "
    dropped = job.stdout_dropped_bytes + job.stderr_dropped_bytes
    told_dropped = (f"first {size(dropped)} of output dropped", f"{size(dropped)} dropped") if dropped else ()
    for told_in in (told_dropped, truncated_in_short(job)):
        fitting = [told for told in told_in if told and cells(dot.join([*parts, told])) <= width - 5]
        parts += fitting[:1]
    words = f" {dot.join(parts)} " if parts else ""
    return (
        (frame[3] + rule, role),
        (words, "muted"),
        (rule * (width - 3 - cells(words)) + frame[2], role),
    )


# ---- inside ---------------------------------------------------------------------------------------------------------


def _body(view_state: ViewState, job: Job, width: int, height: int, *, is_framed: bool) -> list[Spans]:
    """Exactly `height` lines: what matters most comes first, the last lines of output fill the rest."""
    if job.batch_progress is not None:
        return _batch_body(view_state, job, width, height)
    if height <= 2:
        one = _one_line(view_state, job, width)
        if height == 1:
            return [one]
        command = cut_middle(clean(job.command), width, view_state.charset.ellipsis)
        above: Spans = ((command, "muted"),) if job.is_ended or job.state == "queued" else ()
        return [above or _meters(view_state, job, width, has_processes=True), one][:height]
    top: list[Spans] = []
    if height >= 4:
        top.append(((cut_middle(clean(job.command), width, view_state.charset.ellipsis), "muted"),))
    if job.state != "queued":
        top.append(_meters(view_state, job, width, has_processes=not is_framed))
    top += _key_lines(view_state, job, width, height - len(top))
    return _with_output(view_state, job, top[:height], height)


def _batch_body(view_state: ViewState, job: Job, width: int, height: int) -> list[Spans]:
    """How far it is, then what it waits for or is stuck at, what failed and what takes long."""
    charset = view_state.charset
    why = view_state.why(job)
    told: list[Spans] = [*_sentence(why, width, "bold" if is_stuck(job) else "plain")] if why else []
    if height <= 2:
        below = [
            *told,
            *batch_lines(job, width, 2, charset)[1:],
            _meters(view_state, job, width, has_processes=True),
        ]
        return [progress_line(job, width, charset), below[0]][:height]
    top: list[Spans] = []
    if height >= 4:
        top.append(((cut_middle(clean(job.command), width, charset.ellipsis), "muted"),))
    if job.state != "queued":
        top.append(_meters(view_state, job, width, has_processes=False))
    gap: list[Spans] = [()] if height >= 8 else []
    first, *others = batch_lines(job, width, max(height - len(top) - len(told) - 2 * len(gap), 1), charset)
    lines = [*top, *gap, first, *told, *(gap if others else ()), *others]
    return [*lines, *([()] * (height - len(lines)))][:height]


def _with_output(view_state: ViewState, job: Job, top: list[Spans], height: int) -> list[Spans]:
    room = height - len(top)
    if room <= 0:
        return top
    tail = view_state.tails.of(job)
    if room >= 3 and len(top) > 1:
        top = [*top, ()]
        room -= 1
    lines: list[Spans] = list(tail.last_lines(room)) if tail else []
    if not lines and not job.is_ended and job.state != "queued":
        lines = [((_no_output(job), "muted"),)]
    return [*top, *lines, *([()] * (room - len(lines)))]


def _no_output(job: Job) -> str:
    if len(job.stages) > 1:
        return "no output on stdout or stderr"
    return "no output yet"


def _meters(view_state: ViewState, job: Job, width: int, *, has_processes: bool) -> Spans:
    """`cpu  780% ▅▆▇▇   mem  6.2G ▂▃▃▄   out  120/s   12 procs`; what does not fit goes, the last first."""
    if job.is_ended:
        return _summary_of_end(view_state, job)
    gap = "   " if width >= 76 else "  "
    processes = f"{job.processes} proc{'s' if job.processes != 1 else ''}"
    fixed = len("cpu ") + 5 + 1 + len(gap) + len("mem ") + 5 + 1
    has_out = width >= fixed + len(gap) + 11 + 8
    has_processes = has_processes and width >= fixed + 2 * len(gap) + 11 + 11 + 16
    room = width - fixed - (len(gap) + 11 if has_out else 0) - (len(gap) + 11 if has_processes else 0)
    spark = max(min(room // 2, 20), 0)
    line: list[Span] = [
        ("cpu ", "muted"),
        (right(cpu_share(job.cpu_percent), 5), "plain"),
        (" " + view_state.spark(job, "cpu", spark), "spark"),
        (f"{gap}mem ", "muted"),
        (right(size(job.memory_bytes), 5), "plain"),
        (" " + view_state.spark(job, "memory", spark), "spark"),
    ]
    if has_out:
        line += [(f"{gap}out ", "muted"), (right(rate(job.output_bytes_per_second), 7), "plain")]
    if has_processes:
        line.append((f"{gap}{processes}", "muted"))
    return line


def _summary_of_end(view_state: ViewState, job: Job) -> Spans:
    reason = end_reason(job)
    if reason:
        return ((reason, "error" if ended_badly(job) else "muted"),)
    word = view_state.status(job).word
    return ((f"{word} after {view_state.time(job)}" if view_state.time(job) else word, "muted"),)


def _one_line(view_state: ViewState, job: Job, width: int) -> Spans:
    """The one line that there is room for: the reason, the pipeline, or the last output."""
    if job.is_ended:
        return _one_line_of_end(view_state, job)
    why = view_state.why(job)
    if why is not None:
        return ((why, "plain"),)
    if len(job.stages) > 1 and not job.is_ended:
        note = _short_bottleneck(view_state, job)
        drawing, _ = draw_pipeline(job, width - width_of(note), view_state.charset)
        return (*drawing, *note)
    return view_state.last_line(job)


def _one_line_of_end(view_state: ViewState, job: Job) -> Spans:
    """What helps most: the last words of one whose head says all about its end; else the reason."""
    if (job.state == "failed" and job.exit_status is not None) or (
        job.state == "succeeded" and job.reason is None
    ):
        tail = view_state.tails.of(job)
        said = tail.last_line() if tail else ()
        if said:
            return said
    return _summary_of_end(view_state, job)


def _short_bottleneck(view_state: ViewState, job: Job) -> Spans:
    """`◆ gzip is slowest: 99%, 12M/s`"""
    stage = next((stage for stage in job.stages if stage.number == job.bottleneck), None)
    if stage is None:
        return ()
    facts = []
    if stage.cpu_percent is not None:
        facts.append(f"{stage.cpu_percent:.0f}%")
    pipe = next((pipe for pipe in job.pipes if pipe.number == stage.number), None)
    if pipe is not None and pipe.bytes_per_second is not None:
        facts.append(rate(pipe.bytes_per_second))
    text = f" {clean(stage.name)} is slowest" + (f": {', '.join(facts)}" if facts else "")
    return (("  " + view_state.charset.bottleneck, "warning"), (text, "plain"))


def _key_lines(view_state: ViewState, job: Job, width: int, room: int) -> list[Spans]:
    """What matters more than output: why it is stuck, its pipeline, how the stop goes."""
    blank: list[Spans] = [()] if room >= 6 else []
    if len(job.stages) > 1 and not job.is_ended and job.state != "queued":
        return [
            *blank,
            *_pipeline_lines(view_state, job, width, room - len(blank)),
            *_stuck_lines(view_state, job, width),
        ]
    if is_stuck(job):
        return [*blank, *_stuck_lines(view_state, job, width)]
    why = None if job.is_ended else view_state.why(job)  # the meters' line already says how it ended
    return _sentence(why, width, "plain") if why else []


def _stuck_lines(view_state: ViewState, job: Job, width: int) -> list[Spans]:
    if not is_stuck(job):
        return []
    lines = _sentence(view_state.why(job) or "", width, "bold")
    tail = view_state.tails.of(job) if job.pty and not job.full_screen else None
    said = tail.last_line() if tail else ()
    if said:
        lines.append(said)  # most times the question
    if job.health_since is not None:
        since = job.health_since.astimezone().strftime("%H:%M:%S")
        lines.append(((f"nothing has moved since {since} (cpu, i/o, output, processes)", "muted"),))
    if job.id != view_state.model.selected_id:
        return lines  # the keys act on another one
    keys: Spans = (
        ("w", "key"),
        ("  the whole evidence      ", "muted"),
        ("s", "key"),
        ("  stop it      ", "muted"),
        ("r", "key"),
        ("  restart it", "muted"),
    )
    return [*lines, keys]


def _pipeline_lines(view_state: ViewState, job: Job, width: int, room: int) -> list[Spans]:
    drawing, numbers = draw_pipeline(job, width, view_state.charset)
    lines: list[Spans] = [drawing]
    if room >= 3:
        lines.append(numbers)
    if job.bottleneck is not None and job.health != "stuck":
        name = next((clean(stage.name) for stage in job.stages if stage.number == job.bottleneck), "")
        sentence = job.summary or f"stage {job.bottleneck} ({name}) holds up the rest"
        lines.append(((view_state.charset.bottleneck + " ", "warning"), (clean(sentence), "plain")))
    return lines


def _sentence(text: str, width: int, role: Role) -> list[Spans]:
    return [*wrapped(text, width, "", role=role)[:3]]
