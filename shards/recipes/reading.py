"""From a recipe and a folder to the list of videos that ``pack`` takes."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from vidflow.errors import ConfigError, DataError
from vidflow.schema import Segment
from vidflow.shards.recipes.class_lists import read_class_list
from vidflow.shards.recipes.finding import AmbiguousError, ExactPaths, VideoIndex, find_annotations, help_text
from vidflow.shards.recipes.key_times import choose_clips, clips_of, placed
from vidflow.shards.recipes.listing import Listed
from vidflow.shards.recipes.parsers import PARSERS
from vidflow.shards.recipes.recipe import Fold, Recipe
from vidflow.shards.sources.feature_files import FeatureFile
from vidflow.shards.sources.frame_folders import FrameFolder
from vidflow.shards.sources.items import (
    Annotations,
    SampleReader,
    SourceItem,
    SourceList,
    class_name,
    split_rank,
    text_of,
)
from vidflow.shards.sources.labels import resolve_labels
from vidflow.shards.sources.lines import raise_all
from vidflow.shards.sources.picture_files import PictureFile
from vidflow.shards.sources.skeleton_arrays import SkeletonPolicy
from vidflow.shards.sources.skeleton_files import OpenPoseJson
from vidflow.shards.sources.skeleton_pickles import read_skeleton_pickle
from vidflow.shards.sources.splitting import check_groups

_DROPPED = {
    "detection": "boxes are empty or outside the picture",
    "localization": "segments are empty",
    "grounding": "sentences end before they begin",
    "skeleton": "samples hold nobody",
}


def choose_fold(recipe: Recipe, fold: Fold | None) -> Fold | None:
    """The fold to pack: the one asked for, or the first.

    Raises:
        ConfigError: the data set has no such fold.
    """
    if fold is None:
        return recipe.folds[0] if recipe.folds else None
    if fold not in recipe.folds:
        published = f"publishes the folds {', '.join(map(str, recipe.folds))}" if recipe.folds else "has no folds"
        raise ConfigError(f"--fold {fold}: {recipe.title} {published}")
    return fold


def choose_splits(recipe: Recipe, splits: Sequence[str]) -> tuple[str, ...]:
    """The splits to pack: those asked for, or the recipe's usual ones.

    Raises:
        ConfigError: the data set has no such split.
    """
    known = (*recipe.splits, *recipe.more_splits)
    if unknown := [split for split in splits if split not in known]:
        raise ConfigError(f"--splits {','.join(unknown)}: {recipe.title} has {', '.join(known)}")
    return tuple(sorted(set(splits), key=split_rank)) if splits else recipe.splits


def read_lists(
    recipe: Recipe,
    source: Path,
    *,
    annotations: Path | None = None,
    fold: Fold | None = None,
    splits: Sequence[str] = (),
    classes: Sequence[str] | None = None,
    clip_seconds: float | None = None,
    stride: float | None = None,
) -> tuple[list[Listed], list[tuple[int, ...]], tuple[str, ...], list[str]]:
    """The published lists, without a look at the videos.

    Returns:
        The listed videos, their class indices, the class names, and warnings where counts are not the published ones.

    Raises:
        DataError: files are missing or do not parse, each with file:line.
    """
    fold, splits = choose_fold(recipe, fold), choose_splits(recipe, splits)
    files = find_annotations(recipe, source, folder=annotations, splits=splits, fold=fold)
    if recipe.class_list == "sorted":
        names = () if classes is None else tuple(classes)
    elif recipe.class_list == "none":
        if classes is not None:
            raise ConfigError(f"--classes: {recipe.title} has {recipe.texts}, not classes; leave the option out")
        names = ()
    elif recipe.class_list == "numbers":
        names = tuple(map(str, range(recipe.num_classes))) if classes is None else tuple(classes)
    elif classes is not None:
        raise ConfigError(f"--classes: {recipe.title} publishes its class list; leave the option out")
    else:
        names = read_class_list(files["classes"][0].path, recipe.class_list)
    listed = [video for video in PARSERS[recipe.parser](files, names) if video.row.split in splits]
    counts = Counter(video.row.split for video in listed)
    if empty := [split for split in splits if not counts[split]]:
        raise DataError(f"the lists of {recipe.title} name no video of {', '.join(empty)}")
    warnings = []
    if recipe.class_list == "sorted" and not names:
        names = _sorted_classes(recipe, listed)
    elif recipe.class_list != "sorted" and len(names) != recipe.num_classes:
        warnings.append(f"the class list has {len(names)} names, {recipe.title} has {recipe.num_classes} classes")
    warnings += _other_counts(recipe, fold, splits, counts)
    if num_dropped := sum(video.num_dropped for video in listed):
        warnings.append(f"{num_dropped} {_DROPPED[recipe.task]}, and were left out")
    left_out: Counter[str] = Counter()
    for video in listed:
        left_out.update(video.left_out)
    warnings += [f"{count} {what}, and were left out" for what, count in left_out.items() if count]
    questions = [question for video in listed for question in video.questions if question.answers]
    if names and (num_open := sum(not question.labels for question in questions)):
        warnings.append(f"{num_open} of {len(questions)} questions have no answer that is in the list of answers")
    indices: list[tuple[int, ...]] = [()] * len(listed)
    if names:
        if recipe.timeline and (clips := choose_clips(recipe, clip_seconds, stride)):
            listed = clips_of(listed, clips, recipe.timeline)
        rows = [video.row for video in listed]
        indices, names, _ = resolve_labels(rows, classes=names, num_classes=None, first_label=0)
    return listed, indices, names, warnings


def _sorted_classes(recipe: Recipe, listed: Sequence[Listed]) -> tuple[str, ...]:
    names = tuple(sorted({class_name(label) for video in listed for label in video.row.labels}))
    if len(names) != recipe.num_classes:
        raise DataError(
            f"the lists name {len(names)} classes, {recipe.title} has {recipe.num_classes}: their alphabetical order "
            "would not be the published one; use the complete lists, or name the classes in order with --classes FILE"
        )
    return names


def read_recipe(
    recipe: Recipe,
    source: str | os.PathLike[str],
    *,
    annotations: Path | None = None,
    fold: Fold | None = None,
    splits: Sequence[str] = (),
    classes: Sequence[str] | None = None,
    allow_missing: bool = False,
    clip_seconds: float | None = None,
    stride: float | None = None,
) -> SourceList:
    """List the videos of a known data set.

    Args:
        source: folder that holds the data set, arranged as ``recipe.layout`` shows.
        annotations: folder of the annotation files, where they lie elsewhere.
        fold: which of the published train/test splits; None takes the first.
        splits: which splits; empty takes the recipe's usual ones.
        classes: class names in order, for recipes that sort them from the lists.
        allow_missing: leave videos that are missing to be rejected in packing.
        clip_seconds: length of the clips that long videos are cut into; see ``Clips``. None takes the recipe's.
        stride: seconds from one such clip to the next.

    Raises:
        DataError: annotation files or videos are missing, lists do not parse, or two files could be one listed video.
        ConfigError: a fold, a split or ``classes`` that the data set does not have.
    """
    root = Path(source)
    clips = choose_clips(recipe, clip_seconds, stride)
    if recipe.kind == "skeleton" and not recipe.parser:
        return _read_skeletons(
            recipe,
            root,
            annotations=annotations,
            fold=fold,
            splits=splits,
            classes=classes,
            allow_missing=allow_missing,
        )
    listed, indices, class_names, warnings = read_lists(
        recipe,
        root,
        annotations=annotations,
        fold=fold,
        splits=splits,
        classes=classes,
        clip_seconds=clip_seconds,
        stride=stride,
    )
    if not root.is_dir():
        raise DataError(f"{root}: no such folder\n{help_text(recipe)}")
    folder = next((root / name for name in recipe.media if (root / name).is_dir()), root)
    index = (
        ExactPaths(folder)
        if recipe.exact_paths
        else VideoIndex(folder, class_names if recipe.class_folders else (), kind=recipe.kind)
    )
    items, skipped = _items(listed, indices, class_names, index, recipe, allow_missing)
    check_groups(items)
    fold = choose_fold(recipe, fold)
    return SourceList(
        _name(recipe, fold), tuple(items), class_names, recipe.multi_label, skipped, tuple(warnings),
        {"source": "recipe", "recipe": recipe.name, "fold": fold} | ({"clips": asdict(clips)} if clips else {}),
        recipe.task,
    )  # fmt: skip


def _name(recipe: Recipe, fold: Fold | None) -> str:
    return recipe.name if fold is None else f"{recipe.name}-{f'split{fold}' if isinstance(fold, int) else fold}"


def _read_skeletons(
    recipe: Recipe,
    root: Path,
    *,
    annotations: Path | None,
    fold: Fold | None,
    splits: Sequence[str],
    classes: Sequence[str] | None,
    allow_missing: bool,
) -> SourceList:
    fold, splits = choose_fold(recipe, fold), choose_splits(recipe, splits)
    files = find_annotations(recipe, root, folder=annotations, splits=splits, fold=fold)
    source = read_skeleton_pickle(
        files["lists"][0].path,
        SkeletonPolicy(max_people=recipe.max_people),
        protocol=None if fold is None else str(fold),
        classes=classes,
        num_classes=None if classes is not None else recipe.num_classes,
        keypoint_folder=next((root / name for name in recipe.media if (root / name).is_dir()), None),
        allow_missing=allow_missing,
    )
    items = tuple(item for item in source.items if item.split in splits)
    counts = Counter(item.split for item in items)
    if empty := [split for split in splits if not counts[split]]:
        raise DataError(f"{files['lists'][0].path}: names no sample of {', '.join(empty)}")
    skipped = Counter(source.skipped)
    if others := len(source.items) - len(items):
        skipped["annotation that is in no chosen split"] += others
    return replace(
        source,
        name=_name(recipe, fold),
        items=items,
        skipped=skipped,
        warnings=(*source.warnings, *_other_counts(recipe, fold, splits, counts)),
        options={"source": "recipe", "recipe": recipe.name, "fold": fold},
    )


def _other_counts(
    recipe: Recipe, fold: Fold | None, splits: Sequence[str], counts: Counter[str] | Counter[str | None]
) -> list[str]:
    return [
        f"{count.split}: the list names {counts[count.split]} samples, {count.videos} are published ({count.source})"
        for count in recipe.counts_of(fold)
        if count.exact and count.split in splits and counts[count.split] != count.videos
    ]


def _items(
    listed: Sequence[Listed],
    indices: Sequence[tuple[int, ...]],
    class_names: Sequence[str],
    index: VideoIndex | ExactPaths,
    recipe: Recipe,
    allow_missing: bool,
) -> tuple[list[SourceItem], Counter[str]]:
    items: list[SourceItem] = []
    skipped = Counter(index.skipped)
    missing: list[str] = []
    missing_files: set[str] = set()
    problems: list[str] = []
    taken: dict[tuple[str, str], Listed] = {}
    for video, labels in zip(listed, indices, strict=True):
        row = video.row
        name = video.id or text_of(row.path)
        start = None
        try:
            if recipe.spans_in_names:
                assert isinstance(index, VideoIndex)
                assert video.key_time is not None
                found, start = index.find_span(row.path, video.key_time) or (None, None)
            else:
                found = index.find(video, [class_names[label] for label in labels])
        except AmbiguousError as error:
            problems.append(f"{row.where}: {name} may be {error}; leave one of them there")
            continue
        is_missing = found is None
        found = row.path if found is None else found
        if (found, video.id) in taken:
            first = taken[found, video.id].row
            if (first.split, first.labels, first.path) == (row.split, row.labels, row.path):
                skipped["line that repeats another"] += 1
            else:
                problems.append(f"{row.where}: {name} would be the same file as {text_of(first.path)} at {first.where}")
            continue
        taken[found, video.id] = video
        window = None
        if is_missing:
            missing.append(f"{row.where}: {name}")
            missing_files.add(found)
        elif video.key_time is not None:
            try:
                window, boxes = placed(video, recipe, index.root.name, start)
            except DataError as error:
                problems.append(str(error))
                continue
            video = replace(video, boxes=boxes)
        path = os.path.join(index.root, found)  # noqa: PTH118 -- perhaps a million, and a string is what is kept
        reader, notes = _reader(recipe, video), _notes(video, class_names)
        items.append(SourceItem(path, name, row.split or "", labels, row.group, reader, notes, window=window))
    raise_all(problems, "lines that do not name one file each:")
    if missing and not allow_missing:
        hint = f" below {index.root}; give --allow-missing to go on without them\n{help_text(recipe)}\n  missing:"
        raise_all(missing, f"of {len(listed)} listed videos are missing", hint)
    num_taken = len({found for found, _ in taken}) - len(missing_files)
    if isinstance(index, VideoIndex) and (unlisted := index.num_videos - num_taken):
        skipped["video that the lists of these splits do not name"] += unlisted
    return items, skipped


def _reader(recipe: Recipe, video: Listed) -> SampleReader | None:
    if recipe.pictures:
        return PictureFile()
    if recipe.kind == "frames":
        return FrameFolder(fps=recipe.fps)
    if recipe.kind == "skeleton":
        return OpenPoseJson(SkeletonPolicy(max_people=recipe.max_people, fps=recipe.fps))
    if recipe.kind == "feature":
        return FeatureFile(duration=video.duration, seconds_per_step=video.seconds_per_step)
    return None


def _notes(video: Listed, class_names: Sequence[str]) -> Annotations | None:
    if not (video.segments or video.captions or video.boxes or video.moments or video.questions):
        return None
    segments = tuple(
        Segment(start=start, end=end, label=class_names.index(class_name(label)))
        for start, end, label in video.segments
    )
    return Annotations(segments, video.boxes, video.captions, video.moments, video.questions)
