"""The streams of the jobs of a batch as things to copy: each to its own outlet, with the input before each line if so asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

from corral.batch.batch_files import BatchFiles
from corral.batch.batch_outputs import JobOutput, output_of
from corral.model.home import Home
from corral.model.wire import from_wire
from corral.output.reader import OutputFile
from corral_tui.cli.output.copy_output import FileSource, Outlet, Prefixed, Transform, transform_for
from corral_tui.cli.output.progress_line import ProgressLine, SharedOutlet
from corral_tui.text import numbers
from corral_tui.text.terminal_output import visible


class StreamCopy:
    """One stream of one job, from its first byte. What is written after `end` was called is not copied."""

    def __init__(
        self,
        path: str,
        outlet: Outlet,
        transform: Transform,
        on_drop: Callable[[int], None],
        tail: int | None = None,
    ) -> None:
        self.outlet = outlet
        self._transform = transform
        self._file = FileSource(
            path, outlet, start=start_of_tail(path, tail), transform=transform, on_drop=on_drop
        )
        self._is_packed = False

    @property
    def is_read(self) -> bool:
        return self._is_packed or self._file.is_read

    def end(self, packed: bytes | None) -> None:
        """The job has ended. `packed` is all that it wrote here, where that was taken out of the file."""
        if packed is not None and self._file.position == 0:
            self.outlet.put(self._transform.feed(packed) + self._transform.flush())
            self._is_packed = True
        else:
            self._file.fix_end()

    def fix_end(self) -> None:
        self._file.fix_end()

    def read_some(self) -> bool:
        return not self.is_read and self._file.read_some()

    def close(self) -> None:
        self._file.close()


class JobStreams:
    """Those of one batch, and the outlets that they go to.

    Args:
        is_tagged: the input stands before each line.
        by_line: lines of several jobs come between each other, so each is whole.
        tail: only the last so many lines of each stream.
        wanted: only these: 0 is stdout, then stderr by stage.
    """

    def __init__(
        self,
        home: Home,
        batch: str,
        stages: int,
        progress: ProgressLine,
        *,
        is_tagged: bool = False,
        by_line: bool = False,
        is_raw: bool = False,
        tail: int | None = None,
        wanted: Collection[int] | None = None,
    ) -> None:
        self._home = home
        self._batch = int(batch)
        self._stages = stages
        self._is_tagged = is_tagged
        self._by_line = by_line
        self._is_raw, self._tail, self._wanted = is_raw, tail, wanted
        self.files = BatchFiles(home, self._batch)
        self.out, self.err = SharedOutlet(1, progress), SharedOutlet(2, progress)

    def output(self, number: int) -> JobOutput:
        found = output_of(self.files, self._home, self._batch, number, self._stages)
        wanted = range(self._stages + 1) if self._wanted is None else self._wanted
        return found._replace(
            packed=tuple(
                last_lines(content, self._tail) if stream in wanted else b""
                for stream, content in enumerate(found.packed)
            ),
            paths=tuple(path if stream in wanted else "" for stream, path in enumerate(found.paths)),
        )

    def attempt(self, number: int) -> int:
        """Which one it is that runs, from 1 on."""
        return self.files.record(number).attempt

    def copies(self, number: int, output: JobOutput) -> list[StreamCopy]:
        """One for each of its streams."""
        names = output.paths or ("",) * len(output.packed)
        return [
            StreamCopy(
                path, outlet, self._transform(number, outlet), self._drop_report(number, stream), self._tail
            )
            for stream, path in enumerate(names)
            for outlet in (self.err if stream else self.out,)
        ]

    def _transform(self, number: int, outlet: Outlet) -> Transform:
        plain = transform_for(outlet.descriptor, "", raw=self._is_raw)
        if not self._is_tagged:
            return Prefixed(b"", plain) if self._by_line else plain
        text = self.files.input(number).text
        tag = visible(text) if outlet.is_terminal else from_wire(text).replace("\n", " ")
        return Prefixed(os.fsencode(tag) + b"\t", plain)

    def _drop_report(self, number: int, stream: int) -> Callable[[int], None]:
        def report(dropped: int) -> None:
            name = "stdout" if not stream else f"stderr of stage {stream}" if self._stages > 1 else "stderr"
            self.err.say(
                f"job {self._batch}.{number}: {dropped} bytes ({numbers.size(dropped)}) of its {name} were dropped; "
                "each --max-output none keeps all"
            )

        return report

    def close(self) -> None:
        self.files.close()


def end_copies(copies: list[StreamCopy], output: JobOutput) -> None:
    """The job has ended, and has printed that."""
    for stream, copy in enumerate(copies):
        copy.end(output.packed[stream] if stream < len(output.packed) else None)


def last_lines(data: bytes, lines: int | None) -> bytes:
    """The last so many of them, or all."""
    if lines is None:
        return data
    kept = data.splitlines(keepends=True)
    return b"".join(kept[max(0, len(kept) - lines) :])


def start_of_tail(path: str, lines: int | None) -> int:
    """Where the last so many lines of a file begin."""
    if lines is None:
        return 0
    with OutputFile(path) as file:
        start = file.start_of_last_lines(lines)
        # If earlier lines were dropped, start at 0 so that the loss is reported.
        return start if start > file.first_kept() else 0
