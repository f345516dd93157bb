"""The plan of a sample of sound: which stretches of its features become views, and what is blotted out of them.

As plans of clips, one is a pure function of the sample's record, the pipeline's config and a generator that
``vidflow.pipelines.plan.sample_rng`` makes.

Shapes: V views of T frames of features, F bands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np

from vidflow.config.audio import AlignedSampling, AudioPipeline, FrameSampling, MelSettings, SpecAugment
from vidflow.config.pipeline import ClipPipeline
from vidflow.config.sampling import KeyTimeSampling
from vidflow.errors import DataError
from vidflow.media.mel import num_mel_frames
from vidflow.pipelines.audio_alignment import shared_spans, sound_spans
from vidflow.pipelines.frame_choice import choose_frames
from vidflow.pipelines.sampling import clip_shape, clip_starts, sample_frames
from vidflow.schema import SampleRecord


@dataclass(frozen=True, eq=False)
class AudioPlan:
    """V stretches of a sample's features, each of T frames.

    Raises:
        ValueError: arrays whose shapes, types or values do not fit together.
    """

    starts: np.ndarray
    """int64 [V], the frame of features that a view begins with; negative ones begin before the sound."""
    stops: np.ndarray
    """int64 [V], the frame before which the view's sound ends; it is no later than the sound's own end."""
    length: int
    """T."""
    gain_db: float = 0.0
    """Decibels by which all features are raised."""
    time_masks: np.ndarray | None = None
    """int64 [R, 2], [start, stop) in frames of a view; None where there are none."""
    frequency_masks: np.ndarray | None = None
    """int64 [Q, 2], [start, stop) in bands."""

    def __post_init__(self) -> None:
        views = len(self.starts)
        if not views or self.length <= 0:
            raise ValueError(f"views ({views}) and length ({self.length}) must be positive")
        for name, shape in (("starts", (views,)), ("stops", (views,)), ("time_masks", 2), ("frequency_masks", 2)):
            array = getattr(self, name)
            if array is None and shape == 2:
                continue
            fits = array.shape == shape if shape != 2 else array.ndim == 2 and array.shape[1] == 2
            if not fits or array.dtype != np.int64:
                raise ValueError(f"{name} is {array.dtype} {list(array.shape)}; starts is {list(self.starts.shape)}")

    @property
    def num_views(self) -> int:
        """V."""
        return len(self.starts)

    @property
    def frame_padding(self) -> np.ndarray:
        """bool [V, T], frames that hold no sound."""
        frames = self.starts[:, None] + np.arange(self.length)  # [V, T]
        return np.asarray((frames < 0) | (frames >= self.stops[:, None]))

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """Inputs of the model that are known without sound."""
        return {"mel_padding": self.frame_padding}

    def move_labels(self, labels: Sequence[int], flip_labels: Mapping[int, int]) -> tuple[int, ...]:
        """The sample's labels as they are: sound is never mirrored."""
        return tuple(labels)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, ready for JSON."""
        return {
            "starts": self.starts.tolist(),
            "stops": self.stops.tolist(),
            "length": self.length,
            "gain_db": self.gain_db,
            "time_masks": None if self.time_masks is None else self.time_masks.tolist(),
            "frequency_masks": None if self.frequency_masks is None else self.frequency_masks.tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AudioPlan":
        """The inverse of ``to_dict``."""

        def masks(name: str) -> np.ndarray | None:
            return None if values[name] is None else np.asarray(values[name], np.int64).reshape(-1, 2)

        return cls(
            starts=np.asarray(values["starts"], np.int64),
            stops=np.asarray(values["stops"], np.int64),
            length=values["length"],
            gain_db=values["gain_db"],
            time_masks=masks("time_masks"),
            frequency_masks=masks("frequency_masks"),
        )

    def describe(self) -> str:
        """A few lines for people: the views' stretches, the gain, the masks."""
        lines = [f"{self.num_views} views of {self.length} frames"]
        for number, (start, stop) in enumerate(zip(self.starts, self.stops, strict=True)):
            lines.append(f"view {number}: from frame {start}, sound up to frame {stop}")
        if self.gain_db:
            lines.append(f"gain: {self.gain_db:+.1f} dB")
        for name, masks in (("time", self.time_masks), ("frequency", self.frequency_masks)):
            if masks is not None:
                lines.append(f"{name} masks: {', '.join(f'{start} to {stop}' for start, stop in masks)}")
        return "\n".join(lines)


def num_audio_views(pipeline: AudioPipeline) -> int:
    """V: views per sample, the same for every sample."""
    sampling = pipeline.sampling
    return clip_shape(sampling.frames)[0] if isinstance(sampling, AlignedSampling) else sampling.num_views


def is_silent(record: SampleRecord) -> bool:
    """Whether the sample is a video without sound, whose views hold silence."""
    return record.video is not None and not record.video.has_audio


def resampled_length(num_samples: int, rate: int, new_rate: int) -> int:
    """Samples after a change of rate.

    >>> resampled_length(3000, 8000, 16000), resampled_length(100, 44100, 16000)
    (6000, 37)
    """
    return -(-num_samples * new_rate // rate)


def num_feature_frames(record: SampleRecord, mel: MelSettings) -> int:
    """Frames of features of the whole sample. The sound of a video counts as long as its picture.

    Raises:
        DataError: the sample has no sound.
    """
    if record.audio is not None and record.audio.num_mel_frames is not None:
        return record.audio.num_mel_frames
    if record.audio is not None:
        assert record.audio.num_samples is not None
        assert record.audio.sample_rate is not None
        num_samples = resampled_length(record.audio.num_samples, record.audio.sample_rate, mel.sample_rate)
    elif record.video is not None:
        num_samples = max(1, round(record.video.duration * mel.sample_rate))
    else:
        raise DataError(
            f"sample {record.key} ({record.id}): is of kind {record.kind}, which has no sound; "
            "leave it out with `where`"
        )
    return num_mel_frames(num_samples, fft_size=mel.fft_size, hop_size=mel.hop_size)


def make_audio_plan(record: SampleRecord, pipeline: AudioPipeline, rng: np.random.Generator) -> AudioPlan:
    """Draw the plan of one sample.

    Stretches, gain and masks are drawn from independent generators, the first from the one that draws a clip's frames:
    an aligned sampling takes the frames that a clip pipeline takes with the same seed.

    Args:
        rng: a fresh generator of ``sample_rng``.

    Raises:
        DataError: the sample has no sound, or has not what the sampling needs.
    """
    seeds = cast(np.random.SeedSequence, rng.bit_generator.seed_seq).spawn(3)
    frames_rng = np.random.default_rng(seeds[0])
    num_frames = num_feature_frames(record, pipeline.mel)
    if isinstance(pipeline.sampling, AlignedSampling):
        spans = _aligned_spans(record, pipeline, num_frames, frames_rng)
        starts, stops = spans[:, 0], np.minimum(spans[:, 1], spans[:, 0] + pipeline.length)
    else:
        starts = window_starts(
            num_frames,
            length=pipeline.length,
            num_views=pipeline.sampling.num_views,
            rng=frames_rng if pipeline.sampling.random else None,
        )
        stops = np.minimum(starts + pipeline.length, num_frames)
    if is_silent(record):
        stops = starts
    gain = float(np.random.default_rng(seeds[1]).uniform(-1, 1)) * pipeline.gain_db
    time_masks = frequency_masks = None
    if (masking := pipeline.masking) is not None:
        num_mels = pipeline.mel.num_mels  # the loader takes packed features of this number only
        first = max(0, -int(starts[0]))  # of the first view's frames that hold sound
        time_masks, frequency_masks = _draw_masks(
            masking, (first, int(stops[0] - starts[0])), num_mels, np.random.default_rng(seeds[2])
        )
    return AudioPlan(
        starts=np.asarray(starts, np.int64),
        stops=np.asarray(stops, np.int64),
        length=pipeline.length,
        gain_db=gain,
        time_masks=time_masks,
        frequency_masks=frequency_masks,
    )


def window_starts(
    num_frames: int, *, length: int, num_views: int, rng: np.random.Generator | None = None
) -> np.ndarray:
    """First frames of views of one sound, int64 [V].

    Without ``rng`` views are spread evenly, a single one lies in the middle, and so does a sound that is shorter than
    a view:

    >>> window_starts(100, length=20, num_views=1).tolist(), window_starts(100, length=20, num_views=3).tolist()
    ([40], [0, 40, 80])
    >>> window_starts(10, length=20, num_views=2).tolist()
    [-5, -5]

    With ``rng`` views lie anywhere, one in each of V equal parts of the possible places where there is room for it,
    and a shorter sound anywhere in each.
    """
    slack = num_frames - length
    if slack < 0:
        return np.full(num_views, slack // 2) if rng is None else -rng.integers(-slack + 1, size=num_views)
    return clip_starts(num_frames, length=length, interval=1, num_clips=num_views, rng=rng)


def _aligned_spans(
    record: SampleRecord, pipeline: AudioPipeline, num_steps: int, rng: np.random.Generator
) -> np.ndarray:
    """The stretches of features that go with clips of frames, int64 [V, 2]."""
    sampling = pipeline.sampling
    assert isinstance(sampling, AlignedSampling)
    if record.video is not None:
        info = record.video
        choice = choose_frames(record, _clip_pipeline(sampling.frames), rng)
        rate = pipeline.mel.frames_per_second
        return sound_spans(choice.frames, seconds=info.seconds, duration=info.duration, rate=rate, num_steps=num_steps)
    assert record.audio is not None
    if isinstance(sampling.frames, KeyTimeSampling):
        raise DataError(
            f"sample {record.key} ({record.id}): has no pictures, so no frame at a key time; "
            "use another sampling, or pack its video"
        )
    seconds = record.audio.duration or num_steps / pipeline.mel.frames_per_second
    num_frames = max(1, round(seconds * (sampling.frames.target_fps or sampling.fps)))
    try:
        frames = sample_frames(num_frames, sampling.frames, rng)
    except DataError as error:
        raise DataError(f"sample {record.key} ({record.id}): {error}") from error
    return shared_spans(frames, num_frames=num_frames, num_steps=num_steps)


@lru_cache(maxsize=8)
def _clip_pipeline(frames: FrameSampling) -> ClipPipeline:
    return ClipPipeline(sampling=frames)


def _draw_masks(
    masking: SpecAugment, sound: tuple[int, int], num_mels: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Masks over time, inside the stretch that holds sound, and over frequency; int64 [R, 2] and [Q, 2]."""
    num_frames = max(0, sound[1] - sound[0])
    longest = min(masking.time_width, int(masking.time_part * num_frames))
    widest = min(masking.frequency_width, num_mels)
    time = sound[0] + draw_stretches(num_frames, count=masking.num_time_masks, longest=longest, rng=rng)
    return time, draw_stretches(num_mels, count=masking.num_frequency_masks, longest=widest, rng=rng)


def draw_stretches(size: int, *, count: int, longest: int, rng: np.random.Generator) -> np.ndarray:
    """Random stretches [start, stop) inside [0, size), int64 [count, 2].

    The length is uniform over 0 to ``longest``, both included, and the start over all places where it fits.
    arXiv:1904.08779, section 2, which leaves the largest values out.
    """
    lengths = rng.integers(longest + 1, size=count)
    starts = (rng.random(count) * (size - lengths + 1)).astype(np.int64)
    return np.stack([starts, starts + lengths], axis=1)
