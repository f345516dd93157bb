"""``vidflow extract audio``, and the option that it shares with ``vidflow extract mel``."""

from typing import Annotated, Literal

import typer

from vidflow.cli.extract_run import MaxFailures, Out, Overwrite, Src
from vidflow.cli.options import AsJson, Quiet, Workers

SkipSilent = Annotated[
    bool, typer.Option("--skip-silent", help="Pass over files without a sound stream (default: they fail).")
]


def audio(
    src: Src,
    out: Out,
    format: Annotated[Literal["wav", "flac"], typer.Option("--format", help="Of the sound files, 16 bits.")] = "wav",
    sample_rate: Annotated[
        int | None, typer.Option("--sample-rate", help="Per second (default: that of each file).")
    ] = None,
    mono: Annotated[bool, typer.Option("--mono", help="Make one channel of several, their mean.")] = False,
    skip_silent: SkipSilent = False,
    workers: Workers = None,
    max_failures: MaxFailures = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write the sound track of each video, or the sound of each sound file, as WAV or FLAC.

    Running the same command again does only what is left; files without sound, or that do not decode, are listed in
    failed.jsonl.
    """
    from dataclasses import asdict

    from vidflow.cli.extract_run import run_extraction
    from vidflow.shards.extraction.sound import AudioOptions, audio_work, has_sound, sound_jobs

    options = AudioOptions(format=format, sample_rate=sample_rate, mono=mono)
    run_extraction(
        src=src,
        out=out,
        command="audio",
        jobs_of=lambda found: sound_jobs(found, format),
        work=audio_work(options, skip_silent=skip_silent),
        options=asdict(options),
        unit="files",
        accepts=has_sound,
        workers=workers,
        max_failures=max_failures,
        overwrite=overwrite,
        quiet=quiet,
        as_json=as_json,
    )
