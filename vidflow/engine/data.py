"""From [data] to opened data sets and loaders."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from vidflow.config.any_pipeline import Pipeline
from vidflow.config.data import DataConfig
from vidflow.config.experiment import Experiment
from vidflow.dataset import PackedDataset
from vidflow.errors import ConfigError, DataError
from vidflow.pipelines.draws import Group, balanced_groups, share_out
from vidflow.pipelines.epoch import Window
from vidflow.pipelines.loader import Loader, make_loader
from vidflow.pipelines.mixture import Source, common_classes, join
from vidflow.pipelines.turns import TurnLoader


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What training draws from: one data set, or several joined to one."""

    dataset: PackedDataset
    chosen: list[np.ndarray]
    """int64 [n] per source, positions in the manifest."""
    names: list[str]
    """Of the sources."""

    @property
    def classes(self) -> tuple[str, ...]:
        return self.dataset.info.classes


def read_label_map(value: dict[str, str] | str) -> dict[str, str]:
    """A label map as written in the config, or its JSON file.

    Raises:
        ConfigError: no such file, or not names by names.
    """
    if not isinstance(value, str):
        return value
    if not value:
        return {}
    try:
        found = json.loads(Path(value).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"data.sources: label_map = {value!r} cannot be read ({error})") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        raise ConfigError(f'{value}: a label map is a JSON object of names, {{"own name": "common name", ...}}')
    return found


def read_classes(path: str) -> tuple[str, ...]:
    """The names in a file of ``data.classes``, one per line.

    Raises:
        ConfigError: no such file, no names, or a name twice.
    """
    try:
        names = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"data.classes = {path!r} cannot be read ({error})") from error
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if not names or twice:
        problem = f"has {', '.join(map(repr, twice[:5]))} twice" if twice else "is empty"
        raise ConfigError(f"data.classes: {path} {problem}; give one class name per line")
    return tuple(names)


def _open(data: DataConfig, root: str, opened: dict[str, PackedDataset]) -> PackedDataset:
    """The data set below a root, which is opened once: its manifest may come over a network."""
    if root not in opened:
        dataset = PackedDataset.open(root)
        if data.cache:
            from vidflow.storage.cached import cached

            dataset = cached(dataset, data.cache, limit_bytes=data.cache_bytes)
        opened[root] = dataset
    return opened[root]


def open_training(data: DataConfig, opened: dict[str, PackedDataset] | None = None) -> TrainingData:
    """The data that training draws from.

    Args:
        opened: data sets by root that are open already; filled with those that are opened.

    Raises:
        ConfigError: a label map or a list of classes that cannot be used.
        DataError: no data set, classes that do not fit, or nothing is selected.
    """
    opened = {} if opened is None else opened
    if not data.sources:
        dataset = _open(data, data.root, opened)
        chosen = dataset.select(data.train_split, data.where)
        if not data.classes:
            return TrainingData(dataset, [chosen], [""])
        joined, parts = join([Source(dataset, data.train_split)], read_classes(data.classes), where=data.where)
        return TrainingData(joined, parts, [""])
    sources = [
        Source(
            _open(data, entry.root, opened),
            entry.split or data.train_split,
            entry.where,
            read_label_map(entry.label_map),
        )
        for entry in data.sources
    ]
    classes = read_classes(data.classes) if data.classes else common_classes(sources)
    joined, parts = join(sources, classes, where=data.where)
    names = [entry.name or source.dataset.info.name for entry, source in zip(data.sources, sources, strict=True)]
    return TrainingData(joined, parts, names)


def open_evaluation(
    data: DataConfig,
    split: str,
    classes: Sequence[str] | None = None,
    opened: dict[str, PackedDataset] | None = None,
) -> tuple[PackedDataset, np.ndarray]:
    """The data set of validation and test with the labels of the whole, and the selected positions, int64 [n].

    Args:
        classes: those of the whole; None works them out. A data set of some of them, or in another order, gets their
            labels; one of other classes keeps its own, where the config does not join any.
        opened: as in ``open_training``.
    """
    opened = {} if opened is None else opened
    dataset = _open(data, data.eval_root, opened)
    if not data.sources and not data.classes:
        own = dataset.info.classes
        if classes is None or own == tuple(classes) or not set(own) <= set(classes):
            return dataset, dataset.select(split, data.where)
    if classes is None:
        classes = open_training(data, opened).classes
    maps = (read_label_map(entry.label_map) for entry in data.sources if entry.root == data.eval_root)
    joined, (chosen,) = join([Source(dataset, split, "", next(maps, None))], classes, where=data.where)
    return joined, chosen


def training_groups(data: DataConfig, training: TrainingData) -> list[Group]:
    """What an epoch draws, in positions of the selection; empty draws each sample once.

    Raises:
        DataError: a source or class would never be drawn.
    """
    sizes = [len(part) for part in training.chosen]
    total = data.epoch_samples or sum(sizes)
    if data.sampling == "class-balanced":
        indices = np.concatenate(training.chosen)
        labels = training.dataset.table.column("labels").take(indices).to_pylist()
        groups = balanced_groups(labels, total=total)
    elif not data.sources or all(entry.weight is None and entry.repeat == 1 for entry in data.sources):
        return []
    else:
        weights = [entry.weight for entry in data.sources]
        quotas = (
            [size * entry.repeat for size, entry in zip(sizes, data.sources, strict=True)]
            if None in weights
            else share_out(total, [weight for weight in weights if weight is not None])
        )
        ends = np.cumsum(sizes)
        groups = [
            Group(np.arange(end - size, end), quota) for end, size, quota in zip(ends, sizes, quotas, strict=True)
        ]
    if never := sum(not group.quota for group in groups):
        raise DataError(
            f"an epoch of {total} samples is too short: {never} of {len(groups)} sources or classes would never be "
            "drawn; raise data.epoch_samples, or the smallest weight"
        )
    return groups


def training_loader(config: Experiment, training: TrainingData, accelerator: Accelerator) -> "Loader | TurnLoader":
    """The loader of training.

    Raises:
        DataError: too few samples for one batch per process.
    """
    data = config.data

    def make(
        indices: np.ndarray, pipeline: Pipeline, batch_size: int, groups: list[Group], number: str, name: str
    ) -> Loader:
        return make_loader(
            training.dataset,
            pipeline,
            indices,
            selection=(
                data.train_split,
                data.where,
                *(entry.split + " " + entry.where for entry in data.sources),
                number,
            ),
            groups=groups,
            name=name,
            batch_size=batch_size,
            training=True,
            seed=config.seed,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
            device=accelerator.device,
            executor=data.executor,
            decode=data.decode,
            num_threads=data.num_threads,
            workers=data.workers,
            window=Window(num_samples=data.shuffle_window),
            on_bad_sample=data.on_bad_sample,
            checksums=data.checksums,
        )

    if data.combine == "mix":
        groups = training_groups(data, training)
        return make(np.concatenate(training.chosen), data.train, config.train.batch_size, groups, "", "")
    loaders = []
    for number, (entry, indices) in enumerate(zip(data.sources, training.chosen, strict=True)):
        groups = [Group(np.arange(len(indices)), len(indices) * entry.repeat)] if entry.repeat > 1 else []
        pipeline, size = entry.pipeline or data.train, entry.batch_size or config.train.batch_size
        loaders.append(make(indices, pipeline, size, groups, str(number), training.names[number]))
    return TurnLoader(loaders)


def evaluation_loader(
    config: Experiment,
    dataset: PackedDataset,
    indices: np.ndarray,
    accelerator: Accelerator,
    *,
    split: str,
    pipeline: Pipeline,
) -> Loader:
    """The loader of validation or test over the selected positions."""
    data = config.data
    return make_loader(
        dataset,
        pipeline,
        indices,
        selection=(split, data.where),
        training=False,
        seed=config.seed,
        batch_size=data.batch_size_eval or config.train.batch_size,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        device=accelerator.device,
        executor=data.executor,
        decode=data.decode,
        num_threads=data.num_threads,
        workers=data.workers,
        on_bad_sample="skip" if data.on_bad_sample_eval == "miss" else "raise",
        checksums=data.checksums,
    )
