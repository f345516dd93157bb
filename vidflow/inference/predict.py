"""``Predictor``: a trained run and video files in, the likeliest classes of each file out."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from vidflow.batch import Batch
from vidflow.config.pipeline import ClipPipeline
from vidflow.config.sampling import KeyTimeSampling
from vidflow.engine.building import TaskModel
from vidflow.engine.checkpoint import load_exactly
from vidflow.engine.runs import RunFolder
from vidflow.errors import ConfigError, DecodeError, WeightsError
from vidflow.inference.files import list_videos
from vidflow.media.probe import OnDamage, probe_video
from vidflow.models import build_model
from vidflow.pipelines.executor import WorkItem, make_executor
from vidflow.pipelines.loader import default_num_threads
from vidflow.pipelines.plan import make_plan, num_views, sample_rng
from vidflow.pipelines.sampling import clip_shape, has_fixed_clips
from vidflow.schema import SampleRecord
from vidflow.shards.sources.items import text_of

# Frames of all views of a batch, where the caller leaves its size open: enough to keep a device busy, and the
# activations of a ResNet-50 at 224 x 224 pixels stay below a gigabyte.
_FRAMES_PER_BATCH = 64


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
    """The outcome for one file: classes, or the reason why there are none."""

    path: str
    """As it was given; bytes that are not UTF-8 as escapes."""
    top: tuple[ClassScore, ...] = ()
    """Best first."""
    num_frames: int | None = None
    duration: float | None = None
    """Seconds."""
    error: str | None = None


class Predictor:
    """A trained model with the clip pipeline that its run was tested with.

    ``Predictor("runs/tsm")(["clip.mp4", "more/"])`` gives one ``FilePrediction`` per file.

    Args:
        run: folder that training made.
        checkpoint: ``best``, ``last``, or the path of a weights file or checkpoint folder.
        overrides: ``KEY=VALUE`` over the run's config, such as ``data.root=elsewhere``.
        device: None takes the GPU where there is one.
        num_threads: CPU threads that decode and resample; None takes the config's, or this process's share of cores.
        on_damage: ``conceal`` predicts from what still decodes of a damaged video, ``error`` refuses such a file.
        labels: names of other classes than the run's, for models that read names (ActionCLIP).

    Raises:
        ConfigError: no run there, an override that does not fit, a pipeline that reads what files do not have, or
            ``labels`` for a model that knows no names.
        WeightsError: no such checkpoint, or weights that do not fit the model.
    """

    def __init__(
        self,
        run: str | os.PathLike[str],
        *,
        checkpoint: str = "best",
        overrides: Sequence[str] = (),
        device: str | torch.device | None = None,
        num_threads: int | None = None,
        on_damage: OnDamage = "error",
        labels: Sequence[str] = (),
    ) -> None:
        folder = RunFolder(Path(run))
        self.config = folder.config(overrides)
        self.weights = folder.weights(checkpoint)
        classes = folder.classes()
        self.classes = classes.names
        self.device = _choose_device(device)
        self.on_damage = on_damage
        self.num_threads = num_threads or self.config.data.num_threads or default_num_threads()
        self.pipeline = self.config.data.test_pipeline
        _refuse_what_files_lack(self.pipeline)
        settings = self.config.model
        model = build_model(
            settings.name,
            num_classes=len(self.classes),
            multi_label=classes.multi_label,
            data_classes=self.classes,
            **settings.options,
        )
        load_exactly(model, self.weights)
        if labels:
            name_classes = getattr(model, "name_classes", None)
            if name_classes is None:
                raise ConfigError(f"model {settings.name!r} cannot classify by other names (labels); ActionCLIP can")
            name_classes(labels)
            self.classes = tuple(labels)
        self.model = model.to(self.device).eval()
        self.executor = make_executor(
            self.pipeline.normalize,
            name=self.config.data.executor,
            device=self.device,
            num_threads=self.num_threads,
            decode=self.config.data.decode if self.device.type == "cuda" else "auto",
        )

    def __call__(
        self, paths: Iterable[str | os.PathLike[str]], *, top: int = 5, batch_size: int | None = None
    ) -> list[FilePrediction]:
        """Predict files, and the videos at any depth below folders; see ``iterate``."""
        return list(self.iterate(list_videos(paths), top=top, batch_size=batch_size))

    def iterate(
        self, files: Iterable[Path], *, top: int = 5, batch_size: int | None = None
    ) -> Iterator[FilePrediction]:
        """One prediction per file, in the files' order, as batches become ready.

        A file that cannot be used gives a prediction with ``error`` and stops no other. What a file gives does not
        depend on the files beside it.

        Args:
            top: how many classes, at most.
            batch_size: files that go through the model together; None takes what fits a modest memory.

        Raises:
            ConfigError: ``top`` or ``batch_size`` is not positive.
            WeightsError: the model gives scores that are no numbers.
        """
        if top < 1:
            raise ConfigError(f"top = {top}: must be at least 1")
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"batch_size = {batch_size}: must be at least 1")
        if not has_fixed_clips(self.pipeline.sampling):
            batch_size = 1  # each file has a number of views of its own
        if batch_size is None:
            frames_per_file = num_views(self.pipeline) * clip_shape(self.pipeline.sampling)[1]
            batch_size = max(1, _FRAMES_PER_BATCH // frames_per_file)
        with ThreadPoolExecutor(self.num_threads, thread_name_prefix="predict") as pool:
            pending = iter(files)
            # One batch ahead: the next files decode while the model works.
            ahead = [(path, pool.submit(self._prepare, path)) for path in islice(pending, batch_size)]
            while ahead:
                current = ahead
                ahead = [(path, pool.submit(self._prepare, path)) for path in islice(pending, batch_size)]
                try:
                    yield from self._predict(current, top)
                except BaseException:
                    for _, future in ahead:
                        future.cancel()
                    raise

    def _prepare(self, path: Path) -> tuple[WorkItem, Any]:
        """The work item of a file and its decoded part."""
        if not path.is_file():
            raise DecodeError(f"{path}: is no file" if path.exists() else f"{path}: no such file")
        video = probe_video(path, on_damage=self.on_damage)
        record = SampleRecord(key="0", id=text_of(str(path)), split="none", video=video)
        # Index 0 for every file: a test pipeline that draws at random draws the same for a file wherever it stands.
        item = WorkItem(record, make_plan(record, self.pipeline, sample_rng(self.config.seed, 0, 0)), path)
        return item, self.executor.prepare(item)

    def _predict(self, batch: list[tuple[Path, "Future[tuple[WorkItem, Any]]"]], top: int) -> Iterator[FilePrediction]:
        outcomes: dict[int, FilePrediction] = {}
        ready: list[tuple[int, WorkItem, Any]] = []
        for place, (path, future) in enumerate(batch):
            try:
                ready.append((place, *future.result()))
            except DecodeError as error:
                outcomes[place] = FilePrediction(text_of(str(path)), error=text_of(str(error)))
        outcomes |= self._run(ready, top)
        for place in range(len(batch)):
            yield outcomes[place]

    def _run(self, ready: list[tuple[int, WorkItem, Any]], top: int) -> dict[int, FilePrediction]:
        """Place -> prediction of prepared files; where decoding on the device fails for some, each goes on its own."""
        if not ready:
            return {}
        items = [item for _, item, _ in ready]
        try:
            scores = self._scores(items, [prepared for _, _, prepared in ready])
        except DecodeError as error:
            if len(ready) == 1:
                (place, item, _) = ready[0]
                return {place: FilePrediction(item.record.id, error=str(error))}
            return {place: found for one in ready for place, found in self._run([one], top).items()}
        outcomes = {}
        for (place, item, _), row in zip(ready, scores, strict=True):
            best, labels = row.sort(descending=True, stable=True)
            found = zip(labels[:top].tolist(), best[:top].tolist(), strict=True)
            ranked = tuple(ClassScore(label, self.classes[label], score) for label, score in found)
            video = item.record.video
            assert video is not None
            outcomes[place] = FilePrediction(item.record.id, ranked, video.num_frames, video.duration)
        return outcomes

    @torch.inference_mode()
    def _scores(self, items: list[WorkItem], prepared: list[Any]) -> Tensor:
        """float32 [B, K] on the host."""
        clips = self.executor.assemble(items, prepared).to(self.device)
        padding = torch.from_numpy(np.stack([item.plan.frame_padding for item in items])).to(self.device)
        count = len(items)
        batch = Batch(
            ids=[item.record.id for item in items],
            indices=torch.arange(count),
            inputs={"clips": clips, "frame_padding": padding},
            targets={},
            padding=torch.zeros(count, dtype=torch.bool),
        )
        scores = cast(TaskModel, self.model).predict(batch).scores.float().cpu()
        if not scores.isfinite().all():
            raise WeightsError(f"{self.weights}: the model gives scores that are no numbers; use another checkpoint")
        return scores


def _refuse_what_files_lack(pipeline: ClipPipeline) -> None:
    """Video files have no flow pictures, and no boxes that tell a key time."""
    if pipeline.modality != "rgb":
        raise ConfigError(f"data.test.modality = {pipeline.modality!r}: files have RGB only; test on a packed set")
    if isinstance(pipeline.sampling, KeyTimeSampling):
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
