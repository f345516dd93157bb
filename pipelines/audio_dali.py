"""Sound through DALI: decoding and features in its graph; what the graph cannot do is decoded before it, and counted.

DALI's decoder (libsndfile) reads WAV and FLAC, and raises rates. MP3, the sound of videos, unusual codecs and rates
above the features' own are decoded and resampled by FFmpeg instead, sample by sample, decided from the record.

Shapes: B rows, V views, T frames, F bands.
"""

import math
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidflow.config.audio import AudioPipeline
from vidflow.media.sound import LOUDEST
from vidflow.pipelines.audio_features import encoded, has_packed_features, packed_length, sound_samples
from vidflow.pipelines.audio_graph import build_audio_graph
from vidflow.pipelines.audio_inputs import AudioItem, AudioMaker
from vidflow.pipelines.audio_plan import is_silent, num_audio_views
from vidflow.pipelines.dali import in_order
from vidflow.schema import SampleRecord

CONTAINERS = ("wav", "flac")
CODECS = ("flac", "pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le")


def graph_refusal(record: SampleRecord, sample_rate: int) -> str | None:
    """Why the graph does not decode a sample's stream; None where it does.

    Args:
        sample_rate: of the features.
    """
    info = record.audio
    if info is None:
        return "sound of a video"
    if info.container not in CONTAINERS or info.codec not in CODECS:
        return f"codec {info.codec}"
    assert info.sample_rate is not None
    if info.sample_rate > sample_rate:
        return f"{info.sample_rate} Hz, which DALI lowers without a filter"
    return None


@dataclass(frozen=True)
class _Sound:
    """A sample for the graph."""

    file: np.ndarray
    """uint8 [n], a sound file that the graph decodes."""
    reason: str | None
    """Why it is not the sample's own stream."""


@dataclass(frozen=True)
class _Row:
    """A plan of a sample for the graph."""

    item: AudioItem
    number: int
    """Of the plan in the item."""
    sound: _Sound


class DaliAudioMaker(AudioMaker):
    """As ``AudioMaker``, with features by DALI on the device."""

    def __init__(self, pipeline: AudioPipeline, device: torch.device, *, num_threads: int) -> None:
        super().__init__(pipeline, device)
        self.num_threads = num_threads
        self._graph: Any = None

    def prepare(self, item: AudioItem) -> Any:
        """A file for the graph, or the views of a sample that needs no graph."""
        if is_silent(item.record) or has_packed_features(item.record):
            return self.host_views(item)
        reason = graph_refusal(item.record, self.pipeline.mel.sample_rate)
        if reason is not None:
            return self._decoded(item, reason)
        return _Sound(np.frombuffer(encoded(item.record, item.data), np.uint8), None)

    def _decoded(self, item: AudioItem, reason: str) -> _Sound:
        rate = self.pipeline.mel.sample_rate
        samples = sound_samples(item.record, item.data, rate)
        return _Sound(np.frombuffer(wav_file(samples, rate), np.uint8), reason)

    def assemble(self, items: Sequence[AudioItem], prepared: Sequence[Any]) -> dict[str, Tensor]:
        """See ``InputMaker``.

        Raises:
            DecodeError: a stream that the graph's decoder fails on and FFmpeg too, or one that is cut short or has
                samples that are no numbers.
        """
        rows = [
            (item, number, ready)
            for item, ready in zip(items, prepared, strict=True)
            for number in range(len(item.plans))
        ]
        parts: list[tuple[list[int], Tensor]] = []
        counts = Counter(ready.reason for ready in prepared if isinstance(ready, _Sound) and ready.reason)
        if ready_made := [place for place, (_, _, ready) in enumerate(rows) if not isinstance(ready, _Sound)]:
            views = np.stack([rows[place][2][rows[place][1]] for place in ready_made])
            parts.append((ready_made, torch.from_numpy(views).to(self.device)))
        if sounds := [place for place, (_, _, ready) in enumerate(rows) if isinstance(ready, _Sound)]:
            parts.append((sounds, self._views([_Row(*rows[place]) for place in sounds], counts)))
        inputs = self.finished(in_order(parts), items)
        # Not before all has worked: a loader tries the samples of a batch that fails one by one.
        self.num_decoded_on_cpu.update(counts)
        return inputs

    def _views(self, rows: list[_Row], counts: Counter[str]) -> Tensor:
        """float32 [B, V, T, F]. What DALI cannot read, or reads otherwise, FFmpeg decodes, or finds damaged."""
        try:
            views, heard = self._run(rows)
        except RuntimeError as error:
            # Once a graph has failed it cannot run again.
            self._graph = None
            rows = [row if row.sound.reason else self._redecoded(row, "refused by DALI", counts) for row in rows]
            try:
                return self._run(rows)[0]
            except RuntimeError as other:
                raise other from error
        # A stream that was cut short decodes without a word, and so do a WAV file that does not tell its length and
        # one with a sample that is NaN.
        wrong = [
            place for place, row in enumerate(rows) if row.sound.reason is None and not self._fits(row, *heard[place])
        ]
        if wrong:
            again = [self._redecoded(rows[place], "read otherwise by DALI", counts) for place in wrong]
            views[torch.tensor(wrong, device=views.device)] = self._run(again)[0]
        return views

    def _fits(self, row: _Row, length: int, rms: float) -> bool:
        # The root of the sum of squares, which no sample is above; NaN where one is NaN, and then nothing fits.
        bound = rms * math.sqrt(length)
        return length == packed_length(row.item.record, self.pipeline.mel.sample_rate) and bound <= LOUDEST

    def _redecoded(self, row: _Row, reason: str, counts: Counter[str]) -> _Row:
        counts[reason] += row.number == 0
        return replace(row, sound=self._decoded(row.item, reason))

    def _run(self, rows: list[_Row]) -> tuple[Tensor, list[tuple[int, float]]]:
        """Views float32 [B, V, T, F], and how many samples of sound have decoded of each row, and how loud they are."""
        mel, plans = self.pipeline.mel, [row.item.plans[row.number] for row in rows]
        graph = self._built(len(rows))
        before = mel.fft_size - mel.hop_size
        graph.feed_input("sound", [row.sound.file for row in rows])
        graph.feed_input("starts", [(plan.starts * mel.hop_size - before).astype(np.int32) for plan in plans])
        views, lengths, rms = graph.run()
        # ``finish`` writes into them, and DALI takes its memory back when the last reference goes.
        copy = torch.from_dlpack(views.as_tensor()).clone()
        if copy.is_cuda:
            torch.cuda.current_stream(copy.device).synchronize()
        loudness = torch.from_dlpack(rms.as_tensor()).tolist()
        return copy, [(int(np.asarray(lengths.at(place))[0]), loudness[place]) for place in range(len(rows))]

    def _built(self, batch_size: int) -> Any:
        if self._graph is None or self._graph.max_batch_size < batch_size:
            self._graph = build_audio_graph(
                self.pipeline.mel,
                num_views=num_audio_views(self.pipeline),
                length=self.pipeline.length,
                device_id=self.device.index or 0 if self.device.type == "cuda" else None,
                batch_size=1 << (batch_size - 1).bit_length(),
                num_threads=self.num_threads,
            )
        return self._graph


def wav_file(samples: np.ndarray, sample_rate: int) -> bytes:
    """One channel of sound as a WAV file of 32-bit floats."""
    content = np.ascontiguousarray(samples, "<f4").tobytes()
    kind = struct.pack("<HHIIHH", 3, 1, sample_rate, sample_rate * 4, 4, 32)
    body = b"WAVEfmt " + struct.pack("<I", len(kind)) + kind + b"data" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body
