"""What a packed data set holds, counted from its manifest alone."""

from collections import Counter
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow.compute as pc

from vidflow.dataset import REJECTED_NAME, PackedDataset
from vidflow.shards.journal import Rejected


@dataclass(frozen=True)
class Quantiles:
    """Of one number over all samples."""

    min: float
    p5: float
    median: float
    p95: float
    max: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Quantiles":
        """From an array [n], n > 0."""
        return cls(*(round(float(value), 3) for value in np.quantile(values, (0, 0.05, 0.5, 0.95, 1))))


@dataclass(frozen=True)
class SplitReport:
    """One split."""

    num_samples: int
    num_frames: int
    duration: float
    """Seconds."""
    size: int
    """Bytes of its shards."""
    num_shards: int
    classes: dict[str, int]
    """Class name -> samples that have it."""
    empty_classes: tuple[str, ...]


@dataclass(frozen=True)
class Inspection:
    """The whole report. Counts are of samples unless their name says otherwise."""

    root: str
    name: str
    profile: str
    multi_label: bool
    num_classes: int
    splits: dict[str, SplitReport]
    codecs: dict[str, int]
    containers: dict[str, int]
    pixel_formats: dict[str, int]
    resolutions: dict[str, int]
    """Upright width x height."""
    rotations: dict[str, int]
    """Degrees that a decoded frame must still be turned."""
    num_frames: Quantiles
    duration: Quantiles
    fps: Quantiles
    sample_bytes: Quantiles
    longest_gop: Quantiles
    """Frames from one key frame to the next, the longest in each sample: the cost of a random access."""
    num_variable_frame_rate: int
    num_not_seekable: int
    """Samples that must be decoded from their start."""
    num_damaged: int
    """Samples with damage that ``--on-damage conceal`` let through."""
    num_with_audio: int
    num_wrong_headers: int
    """Samples whose container claims another number of frames than decodes."""
    num_groups: int
    num_rejected: int
    rejected_reasons: dict[str, int]
    warnings: tuple[str, ...]

    def table(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def _counts(values: np.ndarray) -> dict[str, int]:
    return {str(value): count for value, count in Counter(values.tolist()).most_common()}


def _longest_gops(dataset: PackedDataset) -> np.ndarray:
    """int64 [n], the longest distance between key frames (or to the end) in each sample."""
    column = dataset.table.column("key_frames")
    lengths = np.asarray(pc.list_value_length(column).to_numpy())
    keys = np.asarray(pc.list_flatten(column).to_numpy(), np.int64)
    ends = np.append(keys[1:], 0)  # [keys of all samples], where each GOP ends
    last = np.cumsum(lengths) - 1
    ends[last] = dataset.column("num_frames")
    return np.maximum.reduceat(ends - keys, np.append(0, last[:-1] + 1))


def _split_report(dataset: PackedDataset, split: str, labels: np.ndarray) -> SplitReport:
    """Args: labels, int [m], class indices of all the split's samples, one after the other."""
    info = dataset.info
    counts = np.bincount(labels, minlength=len(info.classes))
    sums = info.splits[split]
    return SplitReport(
        num_samples=sums.num_samples,
        num_frames=sums.num_frames,
        duration=round(sums.duration, 3),
        size=sums.size,
        num_shards=sum(shard.split == split for shard in info.shards),
        classes=dict(zip(info.classes, counts.tolist(), strict=True)),
        empty_classes=tuple(name for name, count in zip(info.classes, counts, strict=True) if not count),
    )


def inspect_dataset(dataset: PackedDataset) -> Inspection:
    """Count what a data set holds.

    Raises:
        DataError: dataset.json or the manifest do not fit together.
    """
    info, table = dataset.info, dataset.table
    split_column = dataset.column("split")
    splits = {}
    for split in info.splits:
        inside = table.filter(split_column == split)
        splits[split] = _split_report(
            dataset, split, np.asarray(pc.list_flatten(inside.column("labels")).to_numpy(), np.int64)
        )
    header = dataset.column("header_num_frames").astype(float)  # NaN where the container claims nothing
    num_frames = dataset.column("num_frames")
    rejected = [Rejected.model_validate_json(line) for line in dataset.storage.read(REJECTED_NAME).splitlines()]
    reasons = Counter(entry.kind for entry in rejected)
    sizes = [
        f"{w}x{h}" for w, h in zip(dataset.column("width").tolist(), dataset.column("height").tolist(), strict=True)
    ]
    groups = dataset.column("group")
    num_not_seekable = int((~dataset.column("seekable")).sum())
    profile = str(info.options.get("profile", "unknown"))
    return Inspection(
        root=dataset.storage.root,
        name=info.name,
        profile=profile,
        multi_label=info.multi_label,
        num_classes=len(info.classes),
        splits=splits,
        codecs=_counts(dataset.column("codec")),
        containers=_counts(dataset.column("container")),
        pixel_formats=_counts(dataset.column("pixel_format")),
        resolutions=_counts(np.asarray(sizes)),
        rotations=_counts(dataset.column("rotation")),
        num_frames=Quantiles.of(num_frames),
        duration=Quantiles.of(dataset.column("duration")),
        fps=Quantiles.of(dataset.column("fps")),
        sample_bytes=Quantiles.of(dataset.column("data_length")),
        longest_gop=Quantiles.of(_longest_gops(dataset)),
        num_variable_frame_rate=int(dataset.column("variable_frame_rate").sum()),
        num_not_seekable=num_not_seekable,
        num_damaged=int((dataset.column("num_damaged") > 0).sum()),
        num_with_audio=int(dataset.column("has_audio").sum()),
        num_wrong_headers=int((~np.isnan(header) & (header != num_frames)).sum()),
        num_groups=len({group for group in groups.tolist() if group is not None}),
        num_rejected=info.num_rejected,
        rejected_reasons=dict(reasons.most_common()),
        warnings=tuple(_warnings(splits, num_not_seekable, len(table), profile)),
    )


def _warnings(splits: dict[str, SplitReport], num_not_seekable: int, num_samples: int, profile: str) -> list[str]:
    found = [
        f"{split}: no sample of {len(report.empty_classes)} classes, such as {report.empty_classes[0]!r}"
        for split, report in splits.items()
        if report.empty_classes
    ]
    if num_not_seekable and profile == "copy":
        found.append(
            f"{num_not_seekable} of {num_samples} samples cannot be entered in the middle and decode slowly; "
            "--profile train mends that"
        )
    return found
