"""A source and what was found in it, as the record that goes into the shard."""

from vidflow.schema import KINDS, MediaInfo, SampleRecord, Segment
from vidflow.shards.sources.items import Annotations, SourceItem

_NOTHING = Annotations()


def record_of(key: str, item: SourceItem, info: MediaInfo) -> tuple[SampleRecord, list[str]]:
    """The record of one sample, and warnings.

    Segments are cut where the media end, and dropped where they begin later.
    """
    kind = next(kind for kind, model in KINDS.items() if isinstance(info, model))
    notes = item.annotations or _NOTHING
    segments = _inside(notes.segments, info.duration)
    warnings = []
    if num_changed := sum(segment not in segments for segment in notes.segments):
        warnings.append(f"{item.id}: {num_changed} segments reach beyond its end at {info.duration:g} s, and were cut")
    record = SampleRecord.model_validate(
        {
            "key": key,
            "id": item.id,
            "split": item.split,
            "labels": item.labels,
            "group": item.group,
            "kind": kind,
            kind: info,
            "segments": segments,
            "boxes": notes.boxes,
            "captions": notes.captions,
        }
    )
    return record, warnings


def _inside(segments: tuple[Segment, ...], duration: float | None) -> tuple[Segment, ...]:
    if duration is None:
        return segments
    kept = (segment for segment in segments if segment.start < duration)
    return tuple(
        segment if segment.end <= duration else segment.model_copy(update={"end": duration}) for segment in kept
    )
