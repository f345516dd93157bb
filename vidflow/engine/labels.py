"""Labels against the number of classes, before any of them reaches a loss."""

import numpy as np

from vidflow.dataset import PackedDataset
from vidflow.errors import DataError


def check_labels(dataset: PackedDataset, indices: np.ndarray, *, split: str, num_classes: int) -> None:
    """All labels of some samples must lie in [0, num_classes), and single-label sets have exactly one each.

    Args:
        indices: positions in the manifest.

    Raises:
        DataError: naming some of the samples, the labels' range, and what it may mean.
    """
    column = dataset.table.column("labels").combine_chunks()
    counts = np.from_dlpack(column.value_lengths())[indices]
    multi_label = dataset.info.multi_label
    if not multi_label and (counts != 1).any():
        bad = indices[counts != 1]
        raise DataError(
            f"{dataset.storage.root}: split {split!r}: {len(bad)} samples do not have exactly one label, "
            f"such as {_named(dataset, bad)}; pack the set with a label each, or as a multi-label one"
        )
    offsets = np.from_dlpack(column.offsets)
    labels = np.from_dlpack(column.values)
    chosen = np.concatenate([labels[offsets[i] : offsets[i + 1]] for i in indices]) if len(indices) else labels[:0]
    if not len(chosen) or (chosen.min() >= 0 and chosen.max() < num_classes):
        return
    owners = np.repeat(indices, counts)
    bad = np.unique(owners[(chosen < 0) | (chosen >= num_classes)])
    hint = (
        " Labels seem to be counted from 1: they must start at 0."
        if chosen.min() == 1 and chosen.max() == num_classes
        else ""
    )
    raise DataError(
        f"{dataset.storage.root}: split {split!r}: labels lie in [{chosen.min()}, {chosen.max()}], "
        f"the model has {num_classes} classes (0 to {num_classes - 1}); {len(bad)} samples do not fit, "
        f"such as {_named(dataset, bad)}.{hint} "
        "Set model.num_classes, or pack the data set again"
    )


def _named(dataset: PackedDataset, indices: np.ndarray) -> str:
    records = [dataset.record(int(i)) for i in indices[:3]]
    return ", ".join(f"{record.id} (labels {list(record.labels)})" for record in records)
