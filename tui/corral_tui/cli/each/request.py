"""From the options of `each` to the request that starts a batch, and its inputs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from msgspec import structs

from corral.batch.template import Template
from corral.commandline.abbreviation import with_short_command
from corral.model.batch import DEFAULT_REPLACE, DEFAULT_RETRY_DELAY, BatchInput, BatchSpec, HaltRule
from corral.model.errors import UsageError
from corral.model.spec import JobSpec
from corral.model.wire import to_wire
from corral.protocol.requests import StartBatch
from corral_tui.cli.each.command_template import template_parser, without_input
from corral_tui.cli.each.counts import ONE_A_CPU, JobCount, Percent
from corral_tui.cli.each.inputs import GivenSource, InputOptions, open_inputs
from corral_tui.cli.support.job_options import NewJobOptions
from corral_tui.cli.support.job_spec import command_of, job_spec, surroundings_of
from corral_tui.settings.run_defaults import BUILT_IN, RunDefaults


class EachOptions(NewJobOptions, frozen=True, kw_only=True):
    """The options of `each`."""

    given: tuple[GivenSource, ...] = ()
    arg_files: tuple[str, ...] = ()
    is_null: bool = False
    column_separator: str | None = None
    max_args: int = 1
    replace: str = DEFAULT_REPLACE
    jobs: JobCount = ONE_A_CPU
    retries: int = 0
    retry_delay: float = DEFAULT_RETRY_DELAY
    halt: HaltRule = HaltRule()
    limit: float | Percent | None = None
    delay: float = 0.0
    load: float | None = None
    memfree: int | None = None
    resume: bool = False
    joblog: str | None = None
    wait: bool = False
    keep_order: bool = False
    tag: bool = False
    line_buffer: bool = False
    dry_run: bool = False


class PreparedBatch(NamedTuple):
    """What starts a batch, and what it is fed with."""

    request: StartBatch
    template: Template
    inputs: Iterator[BatchInput | int]
    """Where there is no more yet, the descriptor to wait for."""


def prepare_batch(options: EachOptions, defaults: RunDefaults = BUILT_IN) -> PreparedBatch:
    """`defaults` apply where no option is given. Raises UsageError."""
    _check(options)
    around = surroundings_of(options)
    if not isinstance(options.limit, Percent):
        options = structs.replace(options, timeout=options.limit)
    job = job_spec(options, around, defaults, parse_line=template_parser(options.replace))
    if options.max_args == 0:
        pipeline = without_input(job.pipeline, options.replace, is_shell=options.shell)
        job = structs.replace(job, pipeline=pipeline)
    spec = _batch(options, job)
    template = Template(job.pipeline, shell=spec.shell, replace=spec.replace, lines=spec.lines)
    inputs = open_inputs(
        InputOptions(
            options.given, options.arg_files, options.is_null, options.column_separator, options.max_args
        )
    )
    return PreparedBatch(StartBatch(spec=spec, surroundings=around), template, inputs)


def _check(options: EachOptions) -> None:
    of_output = {
        "--keep-order": options.keep_order,
        "--tag": options.tag,
        "--line-buffer": options.line_buffer,
    }
    for name, is_given in of_output.items():
        if is_given and not (options.wait or options.dry_run):
            raise UsageError(f"{name}: it needs --wait, which copies the output here")


def _batch(options: EachOptions, job: JobSpec) -> BatchSpec:
    return BatchSpec(
        job=with_short_command(job),
        shell=options.shell,
        replace=options.replace,
        lines=options.column_separator is not None,
        jobs=options.jobs.resolve(len(job.pipeline.stages)),
        retries=options.retries,
        retry_delay=options.retry_delay,
        halt=options.halt,
        timeout_percent=options.limit.value if isinstance(options.limit, Percent) else None,
        delay=options.delay,
        load=options.load,
        memfree=options.memfree,
        resume=options.resume,
        joblog=None if options.joblog is None else to_wire(os.path.abspath(options.joblog)),
        template=command_of(options),
    )
