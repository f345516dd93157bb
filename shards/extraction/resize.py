"""Videos into smaller videos, or into ones that decode quickly; the tree is kept."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vidflow.errors import ConfigError
from vidflow.media.probe import OnDamage, probe_video
from vidflow.shards.extraction.jobs import Job, Work
from vidflow.shards.extraction.remuxing import add_sound
from vidflow.shards.extraction.sources import FoundFiles, names_of
from vidflow.shards.profiles import EncodeError, Profile, choose_profile
from vidflow.shards.reencoding import reencode_video


def resize_profile(name: str, *, short_side: int | None, crf: int | None, gop: int | None) -> Profile:
    """A profile by name, with options changed.

    Raises:
        ConfigError: no such profile, one that does not encode, or an option out of range.
    """
    profile = choose_profile(name, short_side=short_side, crf=crf)
    if not profile.encodes:
        raise ConfigError(f"--profile {name}: keeps the bytes; choose train or intra")
    if gop is None:
        return profile
    if name == "intra":
        raise ConfigError("--gop: profile intra makes every frame a key frame; leave it out, or choose train")
    if gop < 1:
        raise ConfigError(f"--gop {gop}: must be at least 1 frame")
    return replace(profile, gop=gop)


def resize(
    job: Job, parts: tuple[Path, ...], profile: Profile, on_damage: OnDamage, keep_sound: bool
) -> dict[str, Any]:
    """Re-encode one video; the work of one job.

    Raises:
        DecodeError: it is damaged.
        EncodeError: it cannot be encoded, or its sound does not fit into MP4.
    """
    source, out = Path(job.source), parts[0]
    info = probe_video(source, on_damage=on_damage)
    with_sound = keep_sound and info.has_audio
    silent = out.with_name(f"{out.name}.silent") if with_sound else out
    try:
        video = reencode_video(source, info, silent, profile)
        if with_sound:
            add_sound(silent, source, info, out)
            joined = probe_video(out)
            if joined.num_frames != video.num_frames:
                raise EncodeError(f"{source}: gave {joined.num_frames} frames with sound for {video.num_frames}")
    finally:
        if with_sound:
            silent.unlink(missing_ok=True)
    return {"num_frames": video.num_frames, "width": video.width, "height": video.height, "fps": video.fps}


def resize_jobs(found: FoundFiles) -> list[Job]:
    """One MP4 file for each video."""
    names = names_of(found.files, ".mp4")
    return [Job(file.id, file.path, (name,)) for file, name in zip(found.files, names, strict=True)]


def resize_work(profile: Profile, *, on_damage: OnDamage, keep_sound: bool) -> Work:
    """What workers do."""
    return partial(resize, profile=profile, on_damage=on_damage, keep_sound=keep_sound)
