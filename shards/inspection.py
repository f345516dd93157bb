"""What a packed data set holds, counted from its manifest alone."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vidflow.dataset import REJECTED_NAME, PackedDataset
from vidflow.errors import DataError
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
    task: str
    splits: dict[str, SplitReport]
    kinds: dict[str, int]
    codecs: dict[str, int]
    containers: dict[str, int]
    pixel_formats: dict[str, int]
    resolutions: dict[str, int]
    """Upright width x height."""
    layouts: dict[str, int]
    """Of skeletons."""
    sample_rates: dict[str, int]
    """Of sound, per second."""
    rotations: dict[str, int]
    """Degrees that a decoded frame must still be turned."""
    num_frames: Quantiles | None
    duration: Quantiles | None
    fps: Quantiles | None
    sample_bytes: Quantiles
    longest_gop: Quantiles | None
    """Frames from one key frame to the next, the longest in each video: the cost of a random access."""
    num_people: Quantiles | None
    """Of skeletons."""
    num_steps: Quantiles | None
    """Of features."""
    num_mel_frames: Quantiles | None
    """Of mel features of sound."""
    num_variable_frame_rate: int
    num_not_seekable: int
    """Samples that must be decoded from their start."""
    num_damaged: int
    """Samples with damage that ``--on-damage conceal`` let through."""
    num_with_audio: int
    num_wrong_headers: int
    """Samples whose container claims another number of frames than decodes."""
    num_segments: int
    num_boxes: int
    num_captions: int
    num_moments: int
    num_questions: int
    num_groups: int
    num_rejected: int
    rejected_reasons: dict[str, int]
    warnings: tuple[str, ...]

    def table(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def _counts(values: Iterable[object]) -> dict[str, int]:
    return {str(value): count for value, count in Counter(values).most_common()}


def _present(table: pa.Table, name: str) -> np.ndarray:
    """A column's values where it has some."""
    return np.asarray(pc.drop_null(table.column(name)).to_numpy())


def _quantiles(table: pa.Table, name: str) -> Quantiles | None:
    """Of a column, over the samples that have it."""
    values = _present(table, name)
    return Quantiles.of(values) if len(values) else None


def _total(table: pa.Table, name: str) -> int:
    """Entries of a column of lists."""
    return int(pc.sum(pc.list_value_length(table.column(name))).as_py() or 0)


def _longest_gops(videos: pa.Table) -> np.ndarray:
    """int64 [n], the longest distance between key frames (or to the end) in each sample."""
    column = videos.column("key_frames")
    lengths = np.asarray(pc.list_value_length(column).to_numpy())
    keys = np.asarray(pc.list_flatten(column).to_numpy(), np.int64)
    ends = np.append(keys[1:], 0)  # [keys of all samples], where each GOP ends
    last = np.cumsum(lengths) - 1
    ends[last] = videos.column("num_frames").to_numpy()
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
        DataError: dataset.json or the manifest do not fit together, or there is no sample.
    """
    info, table = dataset.info, dataset.table
    if not len(table):
        raise DataError(f"{dataset.storage.root}: holds no samples; a part of a run may be empty")
    split_column = dataset.column("split")
    splits = {}
    for split in info.splits:
        inside = table.filter(split_column == split)
        splits[split] = _split_report(
            dataset, split, np.asarray(pc.list_flatten(inside.column("labels")).to_numpy(), np.int64)
        )
    videos = table.filter(pc.equal(table.column("kind"), "video"))
    header = videos.column("header_num_frames").to_numpy().astype(float)  # NaN where the container claims nothing
    rejected = [Rejected.model_validate_json(line) for line in dataset.storage.read(REJECTED_NAME).splitlines()]
    reasons = Counter(entry.kind for entry in rejected)
    with_size = table.filter(pc.is_valid(table.column("width")))
    sizes = zip(_present(with_size, "width").tolist(), _present(with_size, "height").tolist(), strict=True)
    groups = dataset.column("group")
    num_not_seekable = int((~_present(videos, "seekable").astype(bool)).sum())
    profile = str(info.options.get("profile", "unknown"))
    return Inspection(
        root=dataset.storage.root,
        name=info.name,
        profile=profile,
        multi_label=info.multi_label,
        num_classes=len(info.classes),
        task=info.task,
        splits=splits,
        kinds=_counts(dataset.column("kind").tolist()),
        codecs=_counts(_present(table, "codec").tolist()),
        containers=_counts(_present(table, "container").tolist()),
        pixel_formats=_counts(_present(table, "pixel_format").tolist()),
        resolutions=_counts(f"{w}x{h}" for w, h in sizes),
        layouts=_counts(_present(table, "layout").tolist()),
        sample_rates=_counts(_present(table, "sample_rate").tolist()),
        rotations=_counts(_present(table, "rotation").tolist()),
        num_frames=_quantiles(table, "num_frames"),
        duration=_quantiles(table, "duration"),
        fps=_quantiles(table, "fps"),
        sample_bytes=Quantiles.of(dataset.column("data_length" if len(videos) == len(table) else "length")),
        longest_gop=Quantiles.of(_longest_gops(videos)) if len(videos) else None,
        num_people=_quantiles(table, "num_people"),
        num_steps=_quantiles(table, "num_steps"),
        num_mel_frames=_quantiles(table, "num_mel_frames"),
        num_variable_frame_rate=int(_present(table, "variable_frame_rate").sum()),
        num_not_seekable=num_not_seekable,
        num_damaged=int((_present(table, "num_damaged") > 0).sum()),
        num_with_audio=int(_present(table, "has_audio").sum()),
        num_wrong_headers=int((~np.isnan(header) & (header != videos.column("num_frames").to_numpy())).sum()),
        num_segments=_total(table, "segments"),
        num_boxes=_total(table, "boxes"),
        num_captions=_total(table, "captions"),
        num_moments=_total(table, "moments"),
        num_questions=_total(table, "questions"),
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
