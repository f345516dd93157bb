"""Whether a packed data set is what its dataset.json and its manifest say, down to every frame.

Checked: size and SHA-256 of every shard; that each manifest row points at its tar members and nothing else lies in
the shard; that KEY.json equals the row; that keys are unique, labels have classes, and the sums of dataset.json are
right; and, by decoding every sample once more, that the video (or what else it holds) is what was recorded.
"""

import hashlib
import io
import math
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
from pydantic import ValidationError

from vidflow.dataset import REJECTED_NAME, PackedDataset, ShardInfo
from vidflow.errors import DataError, DecodeError, StorageError
from vidflow.media.probe import probe_video
from vidflow.members import suffixes
from vidflow.schema import Location, SampleRecord
from vidflow.shards.member_checks import check_members
from vidflow.shards.packed_samples import rows_at
from vidflow.shards.workers import Crash, map_in_order
from vidflow.storage import Storage

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Difference:
    """One thing that is not as recorded; shard, key and id are empty where they do not apply."""

    what: str
    shard: str = ""
    key: str = ""
    id: str = ""

    def __str__(self) -> str:
        place = " ".join(
            part for part in (self.shard, self.key and f"sample {self.key}", self.id and f"({self.id})") if part
        )
        return f"{place}: {self.what}" if place else self.what


@dataclass(frozen=True)
class Verification:
    """The outcome."""

    num_shards: int
    num_samples: int
    decoded: bool
    differences: tuple[Difference, ...]


Sample = tuple[SampleRecord, Location]


@dataclass(frozen=True)
class _ShardTask:
    """Read a whole shard."""

    storage: Storage
    shard: ShardInfo
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class _DecodeTask:
    """Decode one sample."""

    storage: Storage
    sample: Sample
    reencoded: bool
    conceal: bool


def verify_dataset(
    dataset: PackedDataset,
    *,
    workers: int,
    decode: bool = True,
    on_progress: Callable[[int], None] = lambda num_samples: None,
) -> Verification:
    """Verify a data set.

    Args:
        workers: processes.
        decode: whether to decode every sample as well.
        on_progress: called with the number of samples that have been verified.
    """
    info = dataset.info
    try:
        positions = np.arange(len(dataset), dtype=np.int64)
    except (DataError, StorageError) as error:
        return Verification(len(info.shards), 0, False, (Difference(str(error)),))
    differences = list(_check_tables(dataset, rows_at(dataset, positions)))
    # Rows become records shard by shard, as they are needed: a record takes 10 kB, a place in the table 8 bytes.
    by_shard: dict[str, list[int]] = defaultdict(list)
    for position, name in enumerate(dataset.column("shard").tolist()):
        by_shard[name].append(position)

    def tasks() -> Iterator[_ShardTask | _DecodeTask]:
        options = info.options
        for shard in info.shards:
            found = rows_at(dataset, np.asarray(by_shard[shard.name], np.int64))
            samples = tuple(sorted(found, key=lambda sample: sample[1].offset))
            yield _ShardTask(dataset.storage, shard, samples)
            if decode:
                for sample in samples:
                    yield _DecodeTask(
                        dataset.storage,
                        sample,
                        reencoded=options.get("profile") != "copy",
                        conceal=options.get("on_damage") == "conceal",
                    )

    done = 0
    with closing(map_in_order(_check, tasks(), workers=workers)) as results:
        for task, result in results:
            if isinstance(result, Crash):
                differences.append(
                    _of_sample(task.sample, result.reason)
                    if isinstance(task, _DecodeTask)
                    else Difference(result.reason, task.shard.name)
                )
            else:
                differences += result
            done += 1 if isinstance(task, _DecodeTask) else 0 if decode else len(task.samples)
            on_progress(done)
    return Verification(len(info.shards), len(positions), decode, tuple(differences))


def _of_sample(sample: Sample, what: str) -> Difference:
    record, location = sample
    return Difference(what, location.shard, record.key, record.id)


def _check(task: _ShardTask | _DecodeTask) -> list[Difference]:
    if isinstance(task, _DecodeTask):
        record = task.sample[0]
        checks = [_check_video] if record.kind == "video" else []
        if record.kind != "video" or record.skeleton is not None:
            checks.append(_check_members_of)
        return [_of_sample(task.sample, what) for check in checks for what in check(task)]
    try:
        return list(_check_shard(task))
    except StorageError as error:
        return [Difference(str(error), task.shard.name)]


def _check_tables(dataset: PackedDataset, rows: Iterator[Sample]) -> Iterator[Difference]:
    """dataset.json against the manifest."""
    info = dataset.info
    counts = Counter(dataset.column("key").tolist())
    for record, location in rows:
        if counts[record.key] > 1:
            yield _of_sample((record, location), f"the key is used {counts[record.key]} times")
        if bad := [label for label in record.all_labels if not 0 <= label < len(info.classes)]:
            yield _of_sample((record, location), f"labels {bad} have no class, there are {len(info.classes)}")
        if not info.multi_label and len(record.labels) != 1:
            yield _of_sample((record, location), f"has {len(record.labels)} labels in a single-label data set")
    names = {shard.name: shard for shard in info.shards}
    shards = Counter(dataset.column("shard").tolist())
    for name in sorted(shards.keys() - names.keys()):
        yield Difference(f"{shards[name]} manifest rows lie in this shard, which dataset.json does not list", name)
    for name, shard in names.items():
        if shards[name] != shard.num_samples:
            yield Difference(f"dataset.json counts {shard.num_samples} samples, the manifest has {shards[name]}", name)
    places = [dataset.column(name).tolist() for name in ("shard", "split", "key", "id")]
    for shard_name, split, key, sample_id in zip(*places, strict=True):
        if shard_name in names and names[shard_name].split != split:
            what = f"is of split {split!r} in a shard of {names[shard_name].split!r}"
            yield Difference(what, shard_name, key, sample_id)
    samples, frames, sizes = (Counter[str]() for _ in range(3))
    num_frames = dataset.table.column("num_frames").fill_null(0).to_pylist()
    for split, count in zip(places[1], num_frames, strict=True):
        samples[split] += 1
        frames[split] += count
    for shard in info.shards:
        sizes[shard.split] += shard.size
    for split in sorted(info.splits.keys() | samples.keys()):
        recorded = info.splits.get(split)
        found = (samples[split], frames[split], sizes[split])
        if recorded is None or (recorded.num_samples, recorded.num_frames, recorded.size) != found:
            yield Difference(
                f"dataset.json's sums of split {split!r} are not the manifest's {found} (samples, frames, bytes)"
            )
    num_rejected = (
        len(dataset.storage.read(REJECTED_NAME).splitlines()) if dataset.storage.exists(REJECTED_NAME) else None
    )
    if num_rejected != info.num_rejected:
        yield Difference(f"{REJECTED_NAME} has {num_rejected} lines, dataset.json says {info.num_rejected}")


class _Hashing:
    """A file that hashes and counts what is read from it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha256, self.size = file, hashlib.sha256(), 0

    def read(self, size: int) -> bytes:
        data = self.file.read(size)
        self.sha256.update(data)
        self.size += len(data)
        return data


def _check_shard(task: _ShardTask) -> Iterator[Difference]:
    """The whole file, in one pass."""
    shard = task.shard
    storage = task.storage
    size = storage.size(shard.name)
    if size != shard.size:
        yield Difference(f"has {size} bytes, dataset.json says {shard.size}", shard.name)
    with storage.open(shard.name, 0, size) as file:
        hashing = _Hashing(file)
        try:
            with tarfile.open(fileobj=hashing, mode="r|") as archive:  # type: ignore[call-overload]
                yield from _check_members(archive, task)
        except tarfile.TarError as error:
            yield Difference(f"is no whole tar file ({error})", shard.name)
        while hashing.read(_CHUNK):
            pass
    if hashing.sha256.hexdigest() != shard.sha256:
        yield Difference("its SHA-256 is not the one of dataset.json", shard.name)


def _check_members(archive: tarfile.TarFile, task: _ShardTask) -> Iterator[Difference]:
    expected: dict[str, Sample] = {}
    for record, location in task.samples:
        for suffix in (*suffixes(record), "json"):
            expected[f"{record.key}.{suffix}"] = (record, location)
    for member in archive:
        sample = expected.pop(member.name, None)
        if sample is None:
            yield Difference(f"member {member.name!r} belongs to no manifest row, or is there twice", task.shard.name)
            continue
        record, location = sample
        if member.name.endswith(".json"):
            if (
                end := member.offset_data + member.size + -member.size % tarfile.BLOCKSIZE
            ) != location.offset + location.length:
                yield _of_sample(sample, f"ends at byte {end}, the manifest says {location.offset + location.length}")
            content = archive.extractfile(member)
            yield from _check_json(b"" if content is None else content.read(), sample)
            continue
        if member.name != f"{record.key}.{suffixes(record)[0]}":
            continue  # the manifest has the place of the first media member
        found = (member.offset, member.offset_data, member.size)
        if found != (location.offset, location.data_offset, location.data_length):
            recorded = (location.offset, location.data_offset, location.data_length)
            yield _of_sample(
                sample,
                f"member {member.name} lies at {found}, the manifest says {recorded} (offset, data offset, bytes)",
            )
    for name, sample in expected.items():
        yield _of_sample(sample, f"member {name} is missing")


def _check_json(data: bytes, sample: Sample) -> Iterator[Difference]:
    try:
        stored = SampleRecord.model_validate_json(data).model_dump()
    except ValidationError as error:
        yield _of_sample(sample, f"KEY.json is no sample record: {error}")
        return
    recorded = sample[0].model_dump()
    if bad := sorted(n for n in stored.keys() | recorded.keys() if stored.get(n) != recorded.get(n)):
        yield _of_sample(sample, f"KEY.json differs from the manifest in {', '.join(bad)}")


def _check_video(task: _DecodeTask) -> Iterator[str]:
    """What decoding shows that the record does not say."""
    record, location = task.sample
    assert record.video is not None
    on_damage: Literal["error", "conceal"] = "conceal" if task.conceal and not task.reencoded else "error"
    try:
        data = task.storage.read(location.shard, location.data_offset, location.data_length)
        found = probe_video(data, on_damage=on_damage, container=record.video.container).model_dump()
    except (StorageError, DecodeError) as error:
        yield str(error)
        return
    recorded = record.video.model_dump()
    if task.reencoded:
        found["num_damaged"] = recorded["num_damaged"]  # of the original, which is not here
    for name in recorded:
        if not _equal(found[name], recorded[name]):
            yield f"{name} is {_short(found[name])}, the manifest says {_short(recorded[name])}"


def _check_members_of(task: _DecodeTask) -> Iterator[str]:
    """The same for all but an encoded video; members are read from the shard as a tar of their own."""
    record, location = task.sample
    try:
        data = task.storage.read(location.shard, location.offset, location.length)
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            members = {}
            for member in archive:
                content = archive.extractfile(member)
                members[member.name.partition(".")[2]] = b"" if content is None else content.read()
    except (StorageError, tarfile.TarError) as error:
        yield str(error)
        return
    del members["json"]
    yield from check_members(record, members)


def _equal(found: object, recorded: object) -> bool:
    if isinstance(found, float) and isinstance(recorded, float):
        # Another version of NumPy may sum in another order.
        return math.isclose(found, recorded, rel_tol=1e-9)
    return found == recorded


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:60]} ... ({len(text)} characters)"
