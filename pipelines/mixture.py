"""Several packed data sets as one: manifests one after the other, with the labels of a common list of classes.

A position in the joined manifest is a sample's index everywhere, so plans, batches and metrics know nothing of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vidflow.dataset import DatasetInfo, PackedDataset
from vidflow.errors import DataError
from vidflow.storage import Storage


@dataclass(frozen=True)
class Source:
    """A data set, and which of its samples are drawn."""

    dataset: PackedDataset
    split: str
    where: str = ""
    label_map: Mapping[str, str] | None = None
    """Own class name -> common one; classes that are not in it keep their name."""

    def class_names(self) -> tuple[str, ...]:
        """The common names of its classes, in the order of its labels.

        Raises:
            DataError: the map names classes that it does not have.
        """
        own, names = self.dataset.info.classes, dict(self.label_map or {})
        if unknown := sorted(names.keys() - set(own)):
            raise DataError(
                f"{self.dataset.storage.root}: label_map names {', '.join(map(repr, unknown[:5]))}"
                f"{_more(unknown, 5)}, not among its {len(own)} classes"
            )
        return tuple(names.get(name, name) for name in own)


def _more(values: Sequence[object], shown: int) -> str:
    return f" and {len(values) - shown} more" if len(values) > shown else ""


class JoinedStorage:
    """Several storages; a name is ``NUMBER/NAME``."""

    def __init__(self, storages: Sequence[Storage]) -> None:
        self._storages = tuple(storages)
        self.root = " + ".join(storage.root for storage in storages)
        self.reads_ahead = any(storage.reads_ahead for storage in storages)

    def _of(self, name: str) -> tuple[Storage, str]:
        number, _, rest = name.partition("/")
        return self._storages[int(number)], rest

    def address(self, name: str) -> str:
        storage, rest = self._of(name)
        return storage.address(rest)

    def exists(self, name: str) -> bool:
        storage, rest = self._of(name)
        return storage.exists(rest)

    def size(self, name: str) -> int:
        storage, rest = self._of(name)
        return storage.size(rest)

    def known_size(self, name: str) -> int | None:
        storage, rest = self._of(name)
        return storage.known_size(rest)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        storage, rest = self._of(name)
        return storage.read(rest, offset, length)

    def open(self, name: str, offset: int = 0, length: int | None = None) -> BinaryIO:
        storage, rest = self._of(name)
        return storage.open(rest, offset, length)


class JoinedDataset(PackedDataset):
    """A data set made of others."""

    def __init__(self, storage: JoinedStorage, info: DatasetInfo, table: pa.Table) -> None:
        super().__init__(storage, info)
        self.__dict__["table"] = table  # in place of the cached property, which would read a manifest


def common_classes(sources: Sequence[Source]) -> tuple[str, ...]:
    """The classes of all sources under their common names, in order of appearance."""
    return tuple(dict.fromkeys(name for source in sources for name in source.class_names()))


def join(
    sources: Sequence[Source], classes: Sequence[str], *, where: str = ""
) -> tuple[PackedDataset, list[np.ndarray]]:
    """The joined data set, and the selected positions of each source, int64 [n], ascending.

    Args:
        classes: names of the common classes, in the order of the new labels.
        where: a condition for all sources, on top of their own.

    Raises:
        DataError: classes that are not in the common list, sets of several kinds, or nothing is left of a source.
    """
    multi_label = {source.dataset.info.multi_label for source in sources}
    if len(multi_label) > 1:
        raise DataError("data.sources: some sets have one label per sample and some have any number; they do not mix")
    tables, chosen, shards, begin = [], [], [], 0
    for number, source in enumerate(sources):
        dataset = source.dataset
        conditions = [f"({text})" for text in (where, source.where) if text]
        selected = dataset.select(source.split, " and ".join(conditions))
        tables.append(_renamed(dataset, _new_labels(source, classes, selected), number))
        chosen.append(selected + begin)
        shards += [shard.model_copy(update={"name": f"{number}/{shard.name}"}) for shard in dataset.info.shards]
        begin += len(dataset)
    first = sources[0].dataset.info
    info = first.model_copy(update={"classes": tuple(classes), "shards": tuple(shards)})
    storage = JoinedStorage([source.dataset.storage for source in sources])
    return JoinedDataset(storage, info, pa.concat_tables(tables)), chosen


def _new_labels(source: Source, classes: Sequence[str], selected: np.ndarray) -> np.ndarray:
    """int32 [number of own classes], the common label of each own one; -1 where the common list lacks its name."""
    place = {name: label for label, name in enumerate(classes)}
    names = source.class_names()
    labels = np.array([place.get(name, -1) for name in names], np.int32)
    root = source.dataset.storage.root
    used = np.unique(np.asarray(source.dataset.table.column("labels").take(selected).combine_chunks().flatten()))
    if len(used) and (used[0] < 0 or used[-1] >= len(names)):
        raise DataError(f"{root}: its labels reach {used[-1]}, but dataset.json has {len(names)} classes; pack again")
    if lost := [names[label] for label in used if labels[label] < 0]:
        raise DataError(
            f"{root}: its classes {', '.join(map(repr, lost[:5]))}{_more(lost, 5)} are not in the common list; "
            "rename them with label_map, add them to data.classes, or leave them out with where"
        )
    return labels


def _renamed(dataset: PackedDataset, labels: np.ndarray, number: int) -> pa.Table:
    """The manifest with common labels, and shard names that tell the source."""
    table = dataset.table
    if not np.array_equal(labels, np.arange(len(labels))):
        table = _relabeled(dataset, labels)
    names = pc.binary_join_element_wise(str(number), table.column("shard"), "/")
    at = table.schema.get_field_index("shard")
    return table.set_column(at, table.schema.field(at), names)


def _relabeled(dataset: PackedDataset, labels: np.ndarray) -> pa.Table:
    table = dataset.table
    for name in ("segments", "boxes", "questions"):
        if table.column(name).null_count < len(table) and any(table.column(name).to_pylist()):
            raise DataError(f"{dataset.storage.root}: has {name}, whose labels cannot be mapped; list the same classes")
    lists = table.column("labels").combine_chunks()
    offsets = np.asarray(lists.offsets)
    old = np.asarray(lists.values)
    # Labels that no class has belong to samples that are not selected.
    new = np.where((old >= 0) & (old < len(labels)), labels[np.clip(old, 0, len(labels) - 1)], -1).astype(np.int32)
    empty = offsets[1:] == offsets[:-1]
    first = np.append(new, 0)[np.minimum(offsets[:-1], len(new))]
    for name, values in (
        ("labels", pa.ListArray.from_arrays(lists.offsets, pa.array(new))),
        ("label", pa.array(first.astype(np.int32), mask=empty)),
    ):
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), values)
    return table
