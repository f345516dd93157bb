"""What the loader is given for sound: plans, and their views by NumPy (the oracle of the tests) or by DALI.

Shapes: B rows, V views, T frames, F bands.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidflow.config.audio import AudioPipeline
from vidflow.errors import ConfigError, MissingExtraError
from vidflow.pipelines.audio_features import (
    Content,
    cut_views,
    features_of,
    finish,
    has_packed_features,
    packed_features,
    sound_samples,
)
from vidflow.pipelines.audio_plan import AudioPlan, is_silent, make_audio_plan
from vidflow.pipelines.executor import Decode, ExecutorName, has_dali
from vidflow.schema import SampleRecord


@dataclass(frozen=True)
class AudioItem:
    """One sample of sound on its way to one or more rows."""

    record: SampleRecord
    plans: tuple[AudioPlan, ...]
    data: Content
    num_bytes: int
    """Of decoded sound and its views in float32, and of the packed sample."""


class AudioMaker:
    """``mel`` float32 [B, V, 1, T, F] and ``mel_padding`` bool [B, V, T]; all in NumPy, slow and plain.

    Args:
        device: where the views shall be.
    """

    def __init__(self, pipeline: AudioPipeline, device: torch.device) -> None:
        self.pipeline, self.device = pipeline, device
        self.num_decoded_on_cpu: Counter[str] = Counter()

    def item(self, record: SampleRecord, data: Content, rngs: Sequence[np.random.Generator]) -> AudioItem:
        """See ``InputMaker``."""
        plans = tuple(make_audio_plan(record, self.pipeline, rng) for rng in rngs)
        info, mel = record.audio or record.video, self.pipeline.mel
        assert info is not None
        decoded = int((info.duration or 0.0) * mel.sample_rate) * 4
        views = sum(plan.num_views * plan.length for plan in plans) * mel.num_mels * 4
        packed = len(data) if isinstance(data, bytes) else sum(map(len, data.values()))
        return AudioItem(record, plans, data, decoded + views + packed)

    def prepare(self, item: AudioItem) -> Any:
        """Views float32 [V, T, F] of each plan.

        Raises:
            DecodeError: naming the sample.
        """
        return self.host_views(item)

    def host_views(self, item: AudioItem) -> list[np.ndarray]:
        """As ``prepare``, in NumPy."""
        mel = self.pipeline.mel
        if is_silent(item.record):
            features = np.zeros((0, mel.num_mels), np.float32)
        elif has_packed_features(item.record):
            features = packed_features(item.record, item.data, mel.num_mels)
        else:
            features = features_of(sound_samples(item.record, item.data, mel.sample_rate), mel)
        return [cut_views(features, plan) for plan in item.plans]

    def assemble(self, items: Sequence[AudioItem], prepared: Sequence[Any]) -> dict[str, Tensor]:
        """See ``InputMaker``."""
        rows = torch.from_numpy(np.stack([views for ready in prepared for views in ready])).to(self.device)
        return self.finished(rows, items)

    def finished(self, views: Tensor, items: Sequence[AudioItem]) -> dict[str, Tensor]:
        """Inputs by name, of views [B, V, T, F]."""
        plans = [plan for item in items for plan in item.plans]
        return {"mel": finish(views, plans, mean=self.pipeline.mean, std=self.pipeline.std)}

    def blank(self, item: AudioItem) -> dict[str, Tensor]:
        """See ``InputMaker``."""
        plan = item.plans[0]
        return {"mel": torch.zeros(1, plan.num_views, 1, plan.length, self.pipeline.mel.num_mels)}


def make_audio_maker(
    pipeline: AudioPipeline,
    *,
    device: torch.device,
    executor: ExecutorName = "auto",
    decode: Decode = "auto",
    num_threads: int = 1,
) -> AudioMaker:
    """The maker of a device.

    Args:
        executor: ``auto`` is ``dali`` where DALI is installed, ``reference`` elsewhere.
        num_threads: CPU threads of DALI.

    Raises:
        ConfigError: ``decode`` is ``gpu``.
        MissingExtraError: ``dali`` is asked for and not installed.
    """
    if decode == "gpu":
        raise ConfigError("decode = 'gpu': there is no decoder of sound on a GPU; use decode = 'auto' or 'cpu'")
    if executor == "reference" or (executor == "auto" and not has_dali()):
        return AudioMaker(pipeline, device)
    if not has_dali():
        raise MissingExtraError(
            "executor = 'dali' needs nvidia-dali-cuda120, which is not installed; use executor = 'reference'"
        )
    from vidflow.pipelines.audio_dali import DaliAudioMaker

    return DaliAudioMaker(pipeline, device, num_threads=num_threads)
