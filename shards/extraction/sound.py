"""Videos and sound files into sound files of one format, and into mel features."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from vidflow.errors import ConfigError
from vidflow.media.mel import FFT_SIZE, HOP_SIZE, SAMPLE_RATE, mel_features
from vidflow.media.sound import NoSoundError
from vidflow.media.track import read_track, write_track
from vidflow.members import to_npy
from vidflow.shards.extraction.jobs import Job, SkipJob, Work
from vidflow.shards.extraction.sources import FoundFiles, names_of
from vidflow.shards.sources.items import has_video_extension
from vidflow.shards.sources.sound_files import has_sound_extension


@dataclass(frozen=True, kw_only=True)
class AudioOptions:
    """What decides the sound files."""

    format: Literal["wav", "flac"] = "wav"
    sample_rate: int | None = None
    """Per second; None keeps that of each source."""
    mono: bool = False

    def __post_init__(self) -> None:
        if self.sample_rate is not None and not 1000 <= self.sample_rate <= 384_000:
            raise ConfigError(f"--sample-rate {self.sample_rate}: must lie in [1000, 384000] per second")


@dataclass(frozen=True, kw_only=True)
class MelOptions:
    """What decides the features, see ``vidflow.media.mel``."""

    fft_size: int = FFT_SIZE
    hop_size: int = HOP_SIZE

    def __post_init__(self) -> None:
        if self.fft_size < 64 or self.fft_size % 2:
            raise ConfigError(f"--fft-size {self.fft_size}: must be even and at least 64")
        if not 0 < self.hop_size <= self.fft_size // 2:
            raise ConfigError(f"--hop-size {self.hop_size}: must lie in [1, {self.fft_size // 2}], half of --fft-size")


def has_sound(name: str) -> bool:
    """Whether a file name ends like that of a video or of a sound file."""
    return has_video_extension(name) or has_sound_extension(name)


def extract_audio(job: Job, parts: tuple[Path, ...], options: AudioOptions, skip_silent: bool) -> dict[str, Any]:
    """Write the sound of one file; the work of one job.

    Raises:
        SkipJob: it has no sound, and that is no failure.
        DecodeError: it has no sound, or is damaged.
    """
    try:
        track = write_track(
            Path(job.source), parts[0], format=options.format, sample_rate=options.sample_rate, mono=options.mono
        )
    except NoSoundError as error:
        if skip_silent:
            raise SkipJob("no sound stream") from error
        raise
    return asdict(track)


def extract_mel(job: Job, parts: tuple[Path, ...], options: MelOptions, skip_silent: bool) -> dict[str, Any]:
    """Write the mel features of one file's sound; the work of one job. Raises as ``extract_audio`` does."""
    try:
        samples = read_track(Path(job.source), sample_rate=SAMPLE_RATE)
    except NoSoundError as error:
        if skip_silent:
            raise SkipJob("no sound stream") from error
        raise
    mel = mel_features(samples, fft_size=options.fft_size, hop_size=options.hop_size)
    parts[0].write_bytes(to_npy(mel))
    return {"num_frames": mel.shape[0], "num_mels": mel.shape[1], "num_samples": samples.size}


def sound_jobs(found: FoundFiles, extension: str) -> list[Job]:
    """One file for each source, with this extension."""
    names = names_of(found.files, f".{extension}")
    return [Job(file.id, file.path, (name,)) for file, name in zip(found.files, names, strict=True)]


def audio_work(options: AudioOptions, *, skip_silent: bool) -> Work:
    """What workers do for ``vidflow extract audio``."""
    return partial(extract_audio, options=options, skip_silent=skip_silent)


def mel_work(options: MelOptions, *, skip_silent: bool) -> Work:
    """What workers do for ``vidflow extract mel``."""
    return partial(extract_mel, options=options, skip_silent=skip_silent)
