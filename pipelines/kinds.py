"""Which pipeline has which input maker: the one place that lists the kinds."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from vidflow.config.any_pipeline import Pipeline
from vidflow.config.audio import AudioPipeline
from vidflow.config.pipeline import ClipPipeline
from vidflow.config.rgb_pose import RGBPosePipeline
from vidflow.config.skeleton import SkeletonPipeline
from vidflow.dataset import PackedDataset
from vidflow.errors import DataError
from vidflow.pipelines.decode_choice import choose_executor
from vidflow.pipelines.executor import Decode, ExecutorName, has_dali, make_executor
from vidflow.pipelines.inputs import ClipMaker, InputMaker
from vidflow.pipelines.sampling import has_fixed_clips
from vidflow.pipelines.work import HostPrepare, prepare_on_host


@dataclass(frozen=True, kw_only=True)
class MakerSettings:
    """What the loader knows and makers may need."""

    batch_size: int
    device: torch.device
    executor: ExecutorName = "auto"
    decode: Decode = "auto"
    num_threads: int = 1
    processes: bool = False
    """Whether as many processes decode on the CPU as there are threads."""


def make_maker(pipeline: Pipeline, settings: MakerSettings) -> InputMaker:
    """The maker of a pipeline's inputs for samples of which nothing is known beforehand, such as files of a user.

    Raises:
        ConfigError: a decoder that the device or the pipeline does not have.
        MissingExtraError: an executor that is not installed.
    """
    if isinstance(pipeline, SkeletonPipeline):
        from vidflow.pipelines.skeleton_inputs import SkeletonMaker

        return SkeletonMaker(pipeline, settings.device)
    if isinstance(pipeline, AudioPipeline):
        from vidflow.pipelines.audio_inputs import make_audio_maker

        return make_audio_maker(
            pipeline,
            device=settings.device,
            executor=settings.executor,
            decode=settings.decode,
            num_threads=settings.num_threads,
        )
    executor = make_executor(
        pipeline.normalize,
        settings.executor,
        settings.decode,
        device=settings.device,
        num_threads=settings.num_threads,
        host=_host(settings),
    )
    if isinstance(pipeline, RGBPosePipeline):
        from vidflow.pipelines.rgb_pose_inputs import RGBPoseMaker

        return RGBPoseMaker(pipeline, executor, settings.device)
    return ClipMaker(pipeline, executor)


def make_inputs(
    dataset: PackedDataset, pipeline: Pipeline, indices: np.ndarray, settings: MakerSettings
) -> tuple[InputMaker, str]:
    """The maker of a pipeline's inputs, and a line for people where its decoder was chosen by measuring.

    Args:
        indices: int64 [n], positions in the manifest of the samples that will come.

    Raises:
        DataError: samples that the pipeline does not read, or that cannot share a batch.
    """
    if isinstance(pipeline, SkeletonPipeline):
        # Videos may have skeletons beside them.
        alone = dataset.table.column("skeleton").take(indices).is_null().to_numpy()
        refuse_other_kinds(dataset, indices[alone], ("skeleton",), "a skeleton pipeline")
        return make_maker(pipeline, settings), ""
    if isinstance(pipeline, AudioPipeline):
        refuse_other_kinds(dataset, indices, ("audio", "video"), "an audio pipeline")
        _refuse_other_bands(dataset, indices, pipeline)
        return make_maker(pipeline, settings), ""
    if isinstance(pipeline, RGBPosePipeline):
        refuse_other_kinds(dataset, indices, ("video", "frames"), "an rgb_pose pipeline")
        return make_maker(pipeline, settings), ""
    return _clip_maker(dataset, pipeline, indices, settings)


def refuse_other_kinds(dataset: PackedDataset, indices: np.ndarray, readable: tuple[str, ...], reader: str) -> None:
    """Whether a pipeline reads all samples.

    Args:
        readable: kinds of samples.
        reader: the pipeline in words.

    Raises:
        DataError: it does not.
    """
    kinds = set(dataset.column("kind")[indices].tolist()).difference(readable)
    if kinds:
        raise DataError(
            f"{dataset.storage.root}: holds samples of kind {', '.join(sorted(kinds))}, {reader} "
            f"reads {' and '.join(readable)}; select with where = \"kind == '{readable[0]}'\", or use another pipeline"
        )


def _refuse_other_bands(dataset: PackedDataset, indices: np.ndarray, pipeline: AudioPipeline) -> None:
    numbers = set(dataset.table.column("num_mels").take(indices).drop_null().to_pylist()) - {pipeline.mel.num_mels}
    if numbers:
        raise DataError(
            f"{dataset.storage.root}: holds features of {', '.join(map(str, sorted(numbers)))} bands, the pipeline's "
            f'have {pipeline.mel.num_mels}; set mel.num_mels, or select with where = "num_mels == ..."'
        )


def _host(settings: MakerSettings) -> HostPrepare:
    if not settings.processes:
        return prepare_on_host
    from vidflow.pipelines.decode_processes import SharedHost

    return SharedHost(settings.num_threads)


def _clip_maker(
    dataset: PackedDataset, pipeline: ClipPipeline, indices: np.ndarray, settings: MakerSettings
) -> tuple[ClipMaker, str]:
    readable = ("frames",) if pipeline.modality == "flow" else ("video", "frames")
    refuse_other_kinds(dataset, indices, readable, f"a clip pipeline of {pipeline.modality}")
    if settings.batch_size > 1 and not has_fixed_clips(pipeline.sampling):
        raise DataError(
            f"sampling.kind = 'untrimmed' gives each sample its own number of clips, which {settings.batch_size} "
            "samples of a batch cannot share; set data.batch_size_eval = 1"
        )
    make = partial(
        make_executor,
        pipeline.normalize,
        settings.executor,
        device=settings.device,
        num_threads=settings.num_threads,
        host=_host(settings),
    )
    executor, note = choose_executor(
        dataset,
        pipeline,
        indices,
        make=make,
        decode=settings.decode,
        can_choose=settings.device.type == "cuda" and settings.executor != "reference" and has_dali(),
        batch_size=settings.batch_size,
        num_threads=settings.num_threads,
    )
    return ClipMaker(pipeline, executor), note
