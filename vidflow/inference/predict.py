"""``Predictor``: a trained model and files in, the likeliest classes of each file out."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from vidflow.batch import Batch
from vidflow.config.any_pipeline import Pipeline
from vidflow.config.audio import AlignedSampling, AudioPipeline
from vidflow.config.pipeline import ClipPipeline
from vidflow.config.rgb_pose import RGBPosePipeline
from vidflow.config.sampling import KeyTimeSampling
from vidflow.config.skeleton import SkeletonPipeline
from vidflow.engine.building import TaskModel, use_channels_last
from vidflow.errors import ConfigError, DataError, WeightsError
from vidflow.inference.samples import FileReading, FileSample, OpenedSample, without_key
from vidflow.inference.trained import TrainedModel, model_of_run
from vidflow.media.probe import OnDamage
from vidflow.pipelines.kinds import MakerSettings, make_maker
from vidflow.pipelines.loader import default_num_threads
from vidflow.pipelines.plan import num_views, sample_rng
from vidflow.pipelines.sampling import clip_shape, has_fixed_clips
from vidflow.shards.pose.extracting import PoseOptions
from vidflow.shards.sources.items import text_of

# Frames of all views of a batch, where the caller leaves its size open: enough to keep a device busy, and the
# activations of a ResNet-50 at 224 x 224 pixels stay below a gigabyte.
_FRAMES_PER_BATCH = 64
# Of skeletons and sound, whose inputs are small.
_SAMPLES_PER_BATCH = 8


@dataclass(frozen=True)
class ClassScore:
    """One class and how much the model believes in it."""

    label: int
    """Index of the class."""
    name: str
    score: float
    """In [0, 1]; over all classes they sum to 1, unless a sample may have several."""


@dataclass(frozen=True)
class FilePrediction:
    """The outcome for one sample: classes, or the reason why there are none."""

    path: str
    """As it was given, with ``[entry]`` behind it for one of several samples of a file; bytes that are not UTF-8 as
    escapes."""
    top: tuple[ClassScore, ...] = ()
    """Best first."""
    num_frames: int | None = None
    """Of a video or of skeletons."""
    duration: float | None = None
    """Seconds, where the file tells."""
    error: str | None = None


@dataclass(frozen=True)
class _Ready:
    """A sample that was read and prepared."""

    opened: OpenedSample
    item: Any
    prepared: Any


class Predictor:
    """A trained model with the pipeline that its run was tested with.

    ``Predictor("runs/tsm")(["clip.mp4", "more/"])`` gives one ``FilePrediction`` per file. What is read follows from
    the pipeline's kind: videos, skeleton files (or videos, with ``pose``), videos with ``pose``, or sound files and the
    sound of videos.

    Args:
        run: folder that training made, or a ``TrainedModel``.
        checkpoint: ``best``, ``last``, or the path of a weights file or checkpoint folder; of a folder only.
        overrides: ``KEY=VALUE`` over the run's config, such as ``data.root=elsewhere``; of a folder only.
        device: None takes the GPU where there is one.
        num_threads: CPU threads that decode and resample; None takes the config's, or this process's share of cores.
        on_damage: ``conceal`` predicts from what is left of a damaged file, ``error`` refuses it.
        labels: names of other classes than the run's, for models that read names (ActionCLIP).
        pose: how skeletons are found in videos, for models that read skeletons; None refuses videos.

    Raises:
        ConfigError: no run there, an override that does not fit, a pipeline that reads what files do not have,
            ``labels`` for a model that knows no names, or ``pose`` for one that reads no skeletons.
        WeightsError: no such checkpoint, or weights that do not fit the model.
    """

    def __init__(
        self,
        run: str | os.PathLike[str] | TrainedModel,
        *,
        checkpoint: str = "best",
        overrides: Sequence[str] = (),
        device: str | torch.device | None = None,
        num_threads: int | None = None,
        on_damage: OnDamage = "error",
        labels: Sequence[str] = (),
        pose: PoseOptions | None = None,
    ) -> None:
        trained = (
            run if isinstance(run, TrainedModel) else model_of_run(run, checkpoint=checkpoint, overrides=overrides)
        )
        if labels:
            trained = trained.with_labels(labels)
        self.config, self.weights, self.classes = trained.config, trained.weights, trained.classes
        self.device = _choose_device(device)
        self.num_threads = num_threads or self.config.data.num_threads or default_num_threads()
        self.pipeline = self.config.data.test_pipeline
        _refuse_what_files_lack(self.pipeline)
        self.files = FileReading(
            reads=self.pipeline.kind,
            on_damage=on_damage,
            pose=pose,
            frame_times=isinstance(self.pipeline.sampling, AlignedSampling),
        )
        self.model = trained.model.to(self.device)
        if self.device.type == "cpu":
            use_channels_last(self.model)
        self.maker = make_maker(
            self.pipeline,
            MakerSettings(
                batch_size=1,
                device=self.device,
                executor=self.config.data.executor,
                decode=self.config.data.decode if self.device.type == "cuda" else "auto",
                num_threads=self.num_threads,
            ),
        )

    def __call__(
        self, paths: Iterable[str | os.PathLike[str]], *, top: int = 5, batch_size: int | None = None
    ) -> list[FilePrediction]:
        """Predict files, and the fitting files at any depth below folders; see ``outcomes``."""
        return list(self.iterate(paths, top=top, batch_size=batch_size))

    def iterate(
        self, paths: Iterable[str | os.PathLike[str]], *, top: int = 5, batch_size: int | None = None
    ) -> Iterator[FilePrediction]:
        """The same one by one, as batches become ready."""
        samples = self.files.samples_of(paths)
        return (prediction for prediction, _ in self.outcomes(samples, top=top, batch_size=batch_size))

    def outcomes(
        self, samples: Iterable[FileSample], *, top: int = 5, batch_size: int | None = None
    ) -> Iterator[tuple[FilePrediction, OpenedSample | None]]:
        """One prediction per sample, in the samples' order, as batches become ready; and what was read of it.

        A file that cannot be used gives a prediction with ``error`` and stops no other. What a file gives does not
        depend on the files beside it.

        Args:
            samples: see ``FileReading.samples_of``.
            top: how many classes, at most.
            batch_size: samples that go through the model together; None takes what fits a modest memory.

        Raises:
            ConfigError: ``top`` or ``batch_size`` is not positive, or a pose estimator that cannot be used.
            WeightsError: the model gives scores that are no numbers.
        """
        if top < 1:
            raise ConfigError(f"top = {top}: must be at least 1")
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"batch_size = {batch_size}: must be at least 1")
        batch_size = _batch_size(self.pipeline, batch_size)
        with ThreadPoolExecutor(self.num_threads, thread_name_prefix="predict") as pool:
            pending = iter(samples)
            # One batch ahead: the next files decode while the model works.
            ahead = [(sample, pool.submit(self._prepare, sample)) for sample in islice(pending, batch_size)]
            while ahead:
                current = ahead
                ahead = [(sample, pool.submit(self._prepare, sample)) for sample in islice(pending, batch_size)]
                try:
                    yield from self._predict(current, top)
                except BaseException:
                    for _, future in ahead:
                        future.cancel()
                    raise

    def _prepare(self, sample: FileSample) -> _Ready:
        """Read a sample, plan it, and do what needs no other one."""
        opened = sample.open()
        # Index 0 for every file: a test pipeline that draws at random draws the same for a file wherever it stands.
        # Of a video's path the executors of clips read what they need; makers of other kinds are given bytes.
        item = self.maker.item(opened.record, cast(Any, opened.data), [sample_rng(self.config.seed, 0, 0)])
        return _Ready(opened, item, self.maker.prepare(item))

    def _predict(
        self, batch: list[tuple[FileSample, "Future[_Ready]"]], top: int
    ) -> Iterator[tuple[FilePrediction, OpenedSample | None]]:
        outcomes: dict[int, FilePrediction] = {}
        ready: dict[int, _Ready] = {}
        for place, (sample, future) in enumerate(batch):
            try:
                ready[place] = future.result()
            except DataError as error:
                outcomes[place] = FilePrediction(sample.name, error=without_key(text_of(str(error)), sample.name))
            except OSError as error:
                outcomes[place] = FilePrediction(sample.name, error=f"{sample.name}: {error.strerror or error}")
        outcomes |= self._run(ready, top)
        for place in range(len(batch)):
            yield outcomes[place], ready[place].opened if place in ready else None

    def _run(self, ready: dict[int, _Ready], top: int) -> dict[int, FilePrediction]:
        """Place -> prediction of prepared files; where decoding on the device fails for some, each goes on its own."""
        if not ready:
            return {}
        try:
            scores = self._scores(list(ready.values()))
        except DataError as error:  # damage that only the device's decoder sees, or shapes that share no batch
            if len(ready) == 1:
                ((place, one),) = ready.items()
                name = one.opened.record.id
                return {place: FilePrediction(name, error=without_key(str(error), name))}
            return {place: found for at, one in ready.items() for place, found in self._run({at: one}, top).items()}
        outcomes = {}
        for (place, one), row in zip(ready.items(), scores, strict=True):
            best, labels = row.sort(descending=True, stable=True)
            found = zip(labels[:top].tolist(), best[:top].tolist(), strict=True)
            ranked = tuple(ClassScore(label, self.classes[label], score) for label, score in found)
            record = one.opened.record
            num_frames = getattr(record.media, "num_frames", None)
            outcomes[place] = FilePrediction(record.id, ranked, num_frames, getattr(record.media, "duration", None))
        return outcomes

    @torch.inference_mode()
    def _scores(self, ready: list[_Ready]) -> Tensor:
        """float32 [B, K] on the host."""
        inputs = self.maker.assemble([one.item for one in ready], [one.prepared for one in ready])
        plans = [one.item.plans[0].inputs for one in ready]
        known = {name: torch.from_numpy(np.stack([plan[name] for plan in plans])) for name in plans[0]}
        count = len(ready)
        batch = Batch(
            ids=[one.opened.record.id for one in ready],
            indices=torch.arange(count),
            inputs=inputs | known,
            targets={},
            padding=torch.zeros(count, dtype=torch.bool),
        )
        try:
            scores = cast(TaskModel, self.model).predict(batch.to(self.device)).scores.float().cpu()
        except (ValueError, RuntimeError) as error:
            # Clips have the pipeline's shape; skeletons have their file's number of keypoints and coordinates.
            of_skeletons = isinstance(self.pipeline, SkeletonPipeline | RGBPosePipeline)
            if not of_skeletons or isinstance(error, torch.cuda.OutOfMemoryError):
                raise
            shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in batch.inputs.items())
            raise DataError(f"{batch.ids[0]}: the model does not take {shapes}, made of it ({error})") from error
        if not scores.isfinite().all():
            raise WeightsError(f"{self.weights}: the model gives scores that are no numbers; use another checkpoint")
        return scores


def _batch_size(pipeline: Pipeline, wanted: int | None) -> int:
    if isinstance(pipeline, RGBPosePipeline) or (
        isinstance(pipeline, SkeletonPipeline) and pipeline.heatmap is not None
    ):
        num_clips, length = clip_shape(pipeline.sampling)
        return wanted or max(1, _FRAMES_PER_BATCH // (num_clips * length))
    if not isinstance(pipeline, ClipPipeline):
        return wanted or _SAMPLES_PER_BATCH
    if not has_fixed_clips(pipeline.sampling):
        return 1  # each file has a number of views of its own
    return wanted or max(1, _FRAMES_PER_BATCH // (num_views(pipeline) * clip_shape(pipeline.sampling)[1]))


def _refuse_what_files_lack(pipeline: Pipeline) -> None:
    """Files have no flow pictures, and no boxes that tell a key time."""
    if isinstance(pipeline, ClipPipeline) and pipeline.modality != "rgb":
        raise ConfigError(f"data.test.modality = {pipeline.modality!r}: files have RGB only; test on a packed set")
    sampling = pipeline.sampling
    if isinstance(pipeline, AudioPipeline) and isinstance(sampling, AlignedSampling):
        sampling = sampling.frames
    if isinstance(sampling, KeyTimeSampling):
        raise ConfigError("data.test.sampling.kind = 'key_time': files have no boxes; test on a packed set")


def _choose_device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"device = {device!r}: no such device; use cpu, cuda or cuda:1") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device = {str(device)!r}: this machine has no usable GPU; use cpu")
    return chosen
