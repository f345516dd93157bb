"""From the bytes of a sample of sound to features, in NumPy, and what every executor does with finished features.

Shapes: B samples, V views, T frames, F bands, L samples of sound.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from vidflow.config.audio import MelSettings
from vidflow.errors import DataError, DecodeError
from vidflow.media.mel import MIN_DB, mel_features
from vidflow.media.sound import NoSoundError, decode_audio
from vidflow.media.track import first_sound_seconds, read_track
from vidflow.members import mel_array, stream_bytes
from vidflow.pipelines.audio_plan import AudioPlan, resampled_length
from vidflow.pipelines.audio_resample import raise_rate
from vidflow.schema import SampleRecord, VideoInfo

Content = bytes | Mapping[str, bytes]
"""A sound or video stream, or the members of a sample."""

# FFmpeg holds back a few samples when it lowers the rate.
_RESAMPLING_SLACK = 64


def has_packed_features(record: SampleRecord) -> bool:
    """Whether the sample holds features and no stream."""
    return record.audio is not None and record.audio.num_mels is not None


def encoded(record: SampleRecord, data: Content) -> bytes:
    """The sample's stream.

    Raises:
        DecodeError: its member is missing.
    """
    return data if isinstance(data, bytes) else stream_bytes(record, data)


def packed_features(record: SampleRecord, data: Content, num_mels: int) -> np.ndarray:
    """The features of a sample that was packed with them, float32 [frames, F].

    Raises:
        DataError: of another number of bands.
        DecodeError: missing, damaged, or not finite.
    """
    assert record.audio is not None
    if record.audio.num_mels != num_mels:
        raise DataError(
            f"sample {record.key} ({record.id}): has features of {record.audio.num_mels} bands, the pipeline's have "
            f"{num_mels}; set mel.num_mels"
        )
    members = {"mel.npy": data} if isinstance(data, bytes) else data
    features = mel_array(record, members).astype(np.float32)
    if not np.isfinite(features).all():
        raise DecodeError(f"sample {record.key} ({record.id}), mel.npy: has values that are not finite")
    return features


def sound_samples(record: SampleRecord, data: Content, sample_rate: int) -> np.ndarray:
    """The sample's sound as one channel at a rate, float32 [L]; several channels become their mean.

    Raises:
        DecodeError: damaged, shorter than when it was packed, or with samples that are no numbers.
    """
    stream, where = encoded(record, data), f"sample {record.key} ({record.id})"
    try:
        if record.video is not None:
            return _sound_of_pictures(stream, record.video, sample_rate)
        info = record.audio
        assert info is not None
        assert info.sample_rate is not None
        if info.sample_rate > sample_rate:
            samples = read_track(stream, sample_rate=sample_rate)
        else:
            channels = decode_audio(stream)
            samples = raise_rate(channels.mean(axis=0), rate=info.sample_rate, new_rate=sample_rate)
    except NoSoundError as error:
        raise DecodeError(f"{where}: has no sound, though it had when it was packed") from error
    except DecodeError as error:
        raise DecodeError(f"{where}: {error}") from error
    expected, slack = packed_length(record, sample_rate), 0 if info.sample_rate == sample_rate else _RESAMPLING_SLACK
    if abs(len(samples) - expected) > slack:
        # Decoders do not notice that a WAV file is cut.
        raise DecodeError(
            f"{where}: {len(samples)} samples of sound decode at {sample_rate} Hz, it was packed with {expected}; "
            "the shard is damaged"
        )
    return samples


def _sound_of_pictures(stream: bytes, video: VideoInfo, sample_rate: int) -> np.ndarray:
    """The sound track of a video from its first picture on, [L]: with silence before one that starts later."""
    samples = read_track(stream, sample_rate=sample_rate)
    begin = video.pts_start * video.time_base[0] / video.time_base[1]
    late = round((first_sound_seconds(stream) - begin) * sample_rate)
    if late < 0:
        return samples[-late:] if -late < len(samples) else np.zeros(1, np.float32)
    # No longer than the picture, whatever a broken clock says.
    return np.pad(samples, (min(late, round(video.duration * sample_rate)), 0))


def packed_length(record: SampleRecord, sample_rate: int) -> int:
    """How many samples of sound a sample of kind "audio" has at a rate, by what was decoded when it was packed."""
    info = record.audio
    assert info is not None
    assert info.num_samples is not None
    assert info.sample_rate is not None
    return resampled_length(info.num_samples, info.sample_rate, sample_rate)


def features_of(samples: np.ndarray, mel: MelSettings) -> np.ndarray:
    """Features [frames, F] of sound [L] at the settings' rate, float32."""
    return mel_features(samples, **mel.model_dump())


def cut_views(features: np.ndarray, plan: AudioPlan) -> np.ndarray:
    """The plan's views of features [frames, F], float32 [V, T, F], with zeros where there is no sound."""
    views = np.zeros((plan.num_views, plan.length, features.shape[1]), np.float32)
    for view, start, stop in zip(views, plan.starts.tolist(), plan.stops.tolist(), strict=True):
        part = features[max(start, 0) : stop]
        view[max(-start, 0) :][: len(part)] = part
    return views


def finish(views: Tensor, plans: Sequence[AudioPlan], *, mean: float, std: float) -> Tensor:
    """What is the same for all executors, on any device: silence, gain, normalising and masks; [B, V, 1, T, F].

    Features of 0, the least that there is, stay so at any gain.

    Args:
        views: [B, V, T, F], one row per plan; changed.
    """
    padding = np.stack([plan.frame_padding for plan in plans])
    if padding.any():
        views.masked_fill_(torch.from_numpy(padding).to(views.device)[..., None], 0.0)
    if any(plan.gain_db for plan in plans):
        gains = torch.tensor([plan.gain_db / -MIN_DB for plan in plans], device=views.device)[:, None, None, None]
        views = torch.where(views > 0, (views + gains).clamp_(0, 1), views)
    if (mean, std) != (0.0, 1.0):
        views = (views - mean) / std
    for row, plan in zip(views, plans, strict=True):
        for start, stop in [] if plan.time_masks is None else plan.time_masks.tolist():
            row[:, start:stop] = 0.0
        for start, stop in [] if plan.frequency_masks is None else plan.frequency_masks.tolist():
            row[:, :, start:stop] = 0.0
    return views[:, :, None]
