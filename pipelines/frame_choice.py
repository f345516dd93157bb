"""Which frames of one sample its clips show: a sampling applied to the sample's own length, time stamps and key times.

Shapes: C clips of T frames.
"""

from dataclasses import dataclass

import numpy as np

from vidflow.config.pipeline import ClipPipeline
from vidflow.config.sampling import KeyTimeSampling
from vidflow.errors import DataError
from vidflow.pipelines.sampling import fold, policy_of, positions
from vidflow.schema import FramesInfo, SampleRecord, VideoInfo

# Float sums of seconds are this exact, and more.
ROUNDING_SECONDS = 1e-6
# Where frames are fewer units of the time stamps apart than this, the unit was made for the rate: AVI counts frames.
ROUNDED_UNITS = 3


@dataclass(frozen=True, eq=False)
class FrameChoice:
    """The frames of all clips."""

    frames: np.ndarray
    """int64 [C, T], frame numbers of the source."""
    padding: np.ndarray
    """bool [C, T], frames that only fill up a clip for which the video is too short."""
    key_time: float | None = None
    """Seconds; the moment that a key-time sampling is about."""


def choose_frames(record: SampleRecord, pipeline: ClipPipeline, rng: np.random.Generator) -> FrameChoice:
    """Draw the frames of a sample.

    Flow counts the places where ``flow_length`` steps begin; in a sample with fewer steps the last ones repeat.

    Raises:
        DataError: the sample has no frames or no flow, no frame rate, no key time, or is refused as too short.
    """
    sampling = pipeline.sampling
    num_frames = _num_frames(record, pipeline)
    ticks = None if sampling.target_fps is None else _ticks(record, pipeline, sampling.target_fps)
    num_places = num_frames if ticks is None else len(ticks)
    key_time = key_frame = None
    if isinstance(sampling, KeyTimeSampling):
        key_time = choose_key_time(record, rng if sampling.random else None)
        if ticks is None:
            seconds, _, tolerance = _clock(record)
            key_frame = int(frames_at(seconds, np.array([key_time]), tolerance)[0])
        else:
            assert sampling.target_fps is not None
            key_frame = int((key_time + ROUNDING_SECONDS) * sampling.target_fps)
    try:
        places = positions(num_places, sampling, rng, key_frame=key_frame)
        frames = fold(places, num_places, policy_of(sampling))
    except DataError as error:
        raise DataError(f"sample {record.key} ({record.id}): {error}") from error
    padding = (places < 0) | (places >= num_places)
    return FrameChoice(frames if ticks is None else ticks[frames], padding, key_time)


def choose_key_time(record: SampleRecord, rng: np.random.Generator | None) -> float:
    """Seconds of one of the times at which the sample has boxes: any with ``rng``, the middle one without.

    Raises:
        DataError: it has none.
    """
    times = sorted({box.time for box in record.boxes})
    if not times:
        raise DataError(
            f"sample {record.key} ({record.id}): has no boxes, so no key time; "
            "leave it out with `where`, or use another sampling"
        )
    return times[(len(times) - 1) // 2 if rng is None else int(rng.integers(len(times)))]


def frames_at(seconds: np.ndarray, times: np.ndarray, tolerance: float = ROUNDING_SECONDS) -> np.ndarray:
    """The frames on screen at some times, int64 [n]: the last one that has begun; before the first frame that one.

    >>> frames_at(np.array([0.0, 0.1, 0.5]), np.array([0.0, 0.1, 0.3, 9.0])).tolist()
    [0, 1, 1, 2]

    Args:
        seconds: float64 [N], ascending presentation times.
        times: float64 [n].
        tolerance: seconds by which a frame may begin late and still count as begun.
    """
    return np.maximum(np.searchsorted(seconds, times + tolerance, side="right") - 1, 0)


def _num_frames(record: SampleRecord, pipeline: ClipPipeline) -> int:
    info = record.video or record.frames
    if info is None:
        raise DataError(f"{record.id}: has no video, so no clips can be drawn; leave it out with `where`")
    if pipeline.modality == "rgb":
        return info.num_frames
    num_flow = info.num_flow if isinstance(info, FramesInfo) else 0
    if not num_flow:
        raise DataError(f"sample {record.key} ({record.id}): has no flow pictures, which modality = 'flow' needs")
    return max(1, num_flow - pipeline.flow_length + 1)


def _ticks(record: SampleRecord, pipeline: ClipPipeline, target_fps: float) -> np.ndarray:
    """Source frame at each tick of a clock, int64 [ticks]: at least one."""
    seconds, duration, tolerance = _clock(record)
    # The duration is a difference of time stamps, and of the last two once more: four roundings.
    count = max(1, int((duration + 4 * tolerance) * target_fps))
    shown = frames_at(seconds, np.arange(count) / target_fps, tolerance)
    return np.minimum(shown, _num_frames(record, pipeline) - 1)


def _clock(record: SampleRecord) -> tuple[np.ndarray, float, float]:
    """Presentation times of the frames, float64 [N], the duration of them all, and the error of these; in seconds."""
    info = record.video or record.frames
    if isinstance(info, VideoInfo):
        # Time stamps are rounded to whole units: in a WebM file, to milliseconds.
        seconds, unit = info.seconds, info.time_base[0] / info.time_base[1]
        apart = float(np.median(np.diff(seconds))) if len(seconds) > 1 else info.duration
        rounding = unit / 2 if apart > (ROUNDED_UNITS - 0.5) * unit else 0.0
        return seconds, info.duration, rounding + ROUNDING_SECONDS
    assert isinstance(info, FramesInfo)
    if info.fps is None:
        raise DataError(
            f"sample {record.key} ({record.id}): its frame rate is not known, which this sampling needs; "
            "pack the frames with their rate, or sample by frames"
        )
    return np.arange(info.num_frames) / info.fps, info.num_frames / info.fps, ROUNDING_SECONDS
