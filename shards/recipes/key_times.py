"""From annotated moments of long videos to samples: which stretch each is, and boxes in its own time.

Annotations name the original video and its seconds. The file at hand may begin later: all files of one folder at the
same second (``Recipe.starts``), or each where its name says, ``<video>_000012_000022`` (``Recipe.spans_in_names``).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vidflow.errors import ConfigError, DataError
from vidflow.media.window import Window
from vidflow.shards.recipes.listing import Listed
from vidflow.shards.recipes.parsers.ava_csv import key_id
from vidflow.shards.recipes.recipe import Recipe
from vidflow.shards.sources.box_table import BoxTable, joined


@dataclass(frozen=True, slots=True)
class Clips:
    """How long videos are divided into samples."""

    seconds: float
    """Of a clip; 0 takes all that is annotated of a video as one sample."""
    stride: float = 1.0
    """Seconds from one clip to the next; a clip has the boxes of its own share of that length, in its middle."""


def choose_clips(recipe: Recipe, seconds: float | None, stride: float | None) -> Clips | None:
    """What was asked for, or the recipe's usual clips; None where its samples are whole files.

    Raises:
        ConfigError: values that do not fit, or a recipe whose samples are whole files.
    """
    if recipe.timeline is None:
        if seconds is not None or stride is not None:
            given = "--clip-seconds" if seconds is not None else "--stride"
            raise ConfigError(f"{given}: the samples of {recipe.title} are whole files; leave it out")
        return None
    clips = Clips(recipe.clip_seconds if seconds is None else seconds, 1.0 if stride is None else stride)
    if clips.seconds == 0:
        if stride is not None:
            raise ConfigError(f"--stride {stride:g}: has no effect on --clip-seconds 0, which takes whole windows")
        return clips
    if not 0 < clips.stride <= clips.seconds < math.inf:
        raise ConfigError(
            f"--clip-seconds {clips.seconds:g} --stride {clips.stride:g}: a clip must be at least a stride long"
        )
    return clips


def clips_of(listed: Sequence[Listed], clips: Clips, timeline: tuple[float, float]) -> list[Listed]:
    """Key times, gathered into the samples that hold them; ``window`` is set, in seconds of the original video.

    Args:
        timeline: start and end of what is annotated of each video.
    """
    gathered: dict[tuple[str | None, str, int], list[Listed]] = {}
    for moment in listed:
        assert moment.key_time is not None
        number = 0 if clips.seconds == 0 else math.floor((moment.key_time - timeline[0]) / clips.stride)
        gathered.setdefault((moment.row.split, moment.row.path, number), []).append(moment)
    samples = []
    for (_, video, _), moments in gathered.items():
        moments.sort(key=lambda moment: moment.key_time or 0.0)
        times = [moment.key_time for moment in moments if moment.key_time is not None]
        if clips.seconds == 0:
            name, window = video, timeline
        else:
            middle = (times[0] + times[-1]) / 2
            name = key_id(video, times[0])
            window = (max(middle - clips.seconds / 2, 0.0), middle + clips.seconds / 2)
        labels = tuple(dict.fromkeys(label for moment in moments for label in moment.row.labels))
        samples.append(
            replace(
                moments[0],
                row=replace(moments[0].row, labels=labels),
                id=name,
                window=window,
                boxes=joined(moment.boxes for moment in moments if isinstance(moment.boxes, BoxTable)),
            )
        )
    return samples


def placed(listed: Listed, recipe: Recipe, folder: str, start: float | None) -> tuple[Window | None, BoxTable]:
    """What of a file is the sample, and the boxes in seconds from the sample's first frame.

    Args:
        folder: name of the folder below the source folder in which the files are looked for.
        start: second of the original video at which the file begins, where its name says so.

    Raises:
        DataError: a box lies before the file's start.
    """
    origin = recipe.starts.get(folder, 0.0) if start is None else start
    too_early = DataError(f"{listed.row.where}: {listed.id} lies before second {origin:g}, where the file begins")
    window, first = None, origin
    if listed.window is not None and (listed.window != recipe.timeline or origin != listed.window[0]):
        begin, end = listed.window[0] - origin, listed.window[1] - origin
        if end <= 0:
            raise too_early
        window = Window(max(begin, 0.0), end, recipe.fps)
        first = origin + window.start
    assert isinstance(listed.boxes, BoxTable)
    if (listed.boxes.numbers[:, 0] < first).any():
        raise too_early
    return window, listed.boxes.moved(first)
