"""``vidflow extract mel``."""

from typing import Annotated

import typer

from vidflow.cli.extract_audio import SkipSilent
from vidflow.cli.extract_run import MaxFailures, Out, Overwrite, Src
from vidflow.cli.options import AsJson, Quiet, Workers


def mel(
    src: Src,
    out: Out,
    fft_size: Annotated[int, typer.Option("--fft-size", help="Samples per window, at 16 kHz.")] = 512,
    hop_size: Annotated[int, typer.Option("--hop-size", help="Samples from frame to frame.")] = 256,
    skip_silent: SkipSilent = False,
    workers: Workers = None,
    max_failures: MaxFailures = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write log-mel features of the sound of each video or sound file as .npy [T, 80].

    They are those that MMAction2's audio models are trained on. Running the same command again does only what is left;
    files without sound, or that do not decode, are listed in failed.jsonl.
    """
    from dataclasses import asdict

    from vidflow.cli.extract_run import run_extraction
    from vidflow.shards.extraction.sound import MelOptions, has_sound, mel_work, sound_jobs

    options = MelOptions(fft_size=fft_size, hop_size=hop_size)
    run_extraction(
        src=src,
        out=out,
        command="mel",
        jobs_of=lambda found: sound_jobs(found, "npy"),
        work=mel_work(options, skip_silent=skip_silent),
        options=asdict(options),
        unit="files",
        accepts=has_sound,
        workers=workers,
        max_failures=max_failures,
        overwrite=overwrite,
        quiet=quiet,
        as_json=as_json,
    )
