"""A source and what was found in it, as the record that goes into the shard."""

from typing import TypeVar

from vidflow.schema import KINDS, MediaInfo, Moment, SampleRecord, Segment, SkeletonInfo
from vidflow.shards.sources.items import Annotations, SourceItem

_NOTHING = Annotations()
_Timed = TypeVar("_Timed", Segment, Moment)


def record_of(
    key: str, item: SourceItem, info: MediaInfo, skeleton: SkeletonInfo | None = None
) -> tuple[SampleRecord, list[str]]:
    """The record of one sample, and warnings.

    Segments and moments are cut where the media end, and dropped where they begin later.

    Args:
        skeleton: of the people in a video.
    """
    kind = next(kind for kind, model in KINDS.items() if isinstance(info, model))
    notes = item.annotations or _NOTHING
    segments = _inside(notes.segments, info.duration)
    moments = _inside(notes.moments, info.duration)
    warnings = []
    for what, before, after in (("segments", notes.segments, segments), ("moments", notes.moments, moments)):
        if num_changed := sum(part not in after for part in before):
            warnings.append(
                f"{item.id}: {num_changed} {what} reach beyond its end at {info.duration:g} s, and were cut"
            )
    record = SampleRecord.model_validate(
        {
            "key": key,
            "id": item.id,
            "split": item.split,
            "labels": item.labels,
            "group": item.group,
            "kind": kind,
            kind: info,
            **({} if skeleton is None else {"skeleton": skeleton}),
            "segments": segments,
            "boxes": tuple(notes.boxes),
            "captions": notes.captions,
            "moments": moments,
            "questions": notes.questions,
        }
    )
    return record, warnings


def _inside(parts: tuple[_Timed, ...], duration: float | None) -> tuple[_Timed, ...]:
    """Parts cut at the end of the media, where that is known."""
    if duration is None:
        return parts
    kept = (part for part in parts if part.start < duration)
    return tuple(part if part.end <= duration else part.model_copy(update={"end": duration}) for part in kept)
