"""From what a user gives on the command line to the source of a kind other than video."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath

from vidflow.errors import ConfigError, DataError
from vidflow.schema import Layout
from vidflow.shards.files import is_folder_at
from vidflow.shards.sources.annotations import USUAL_COLUMNS, named_file, read_annotations
from vidflow.shards.sources.class_folders import read_class_folders, walk_videos
from vidflow.shards.sources.classes import read_lines
from vidflow.shards.sources.feature_files import FeatureFile, has_feature_extension
from vidflow.shards.sources.feature_lists import read_feature_archive, read_segment_features
from vidflow.shards.sources.frame_folders import FrameFolder, template_prefix, walk_frame_folders
from vidflow.shards.sources.frame_lists import read_frame_lists
from vidflow.shards.sources.items import SampleReader, SourceList
from vidflow.shards.sources.lines import Columns, find_header
from vidflow.shards.sources.named_files import SplitRule, read_named_files, with_reader
from vidflow.shards.sources.skeleton_archives import SkeletonNpz
from vidflow.shards.sources.skeleton_arrays import SkeletonPolicy
from vidflow.shards.sources.skeleton_files import MsrText, NtuText, SkeletonFile
from vidflow.shards.sources.skeleton_pickles import read_skeleton_arrays, read_skeleton_pickle
from vidflow.shards.sources.skeleton_utkinect import LABELS_NAME, read_utkinect
from vidflow.shards.sources.sound_files import SoundFile, has_audio_extension, refuse_mixture
from vidflow.shards.sources.unpacked_arrays import UnpackedFeature, UnpackedSkeleton

# What the data sets' own file names say.
MSR_NAMES = r"a(?P<label>\d+)_s(?P<subject>\d+)_e(?P<rep>\d+)"
NTU_NAMES = r"S(?P<setup>\d{3})C(?P<camera>\d{3})P(?P<subject>\d{3})R(?P<rep>\d{3})A(?P<label>\d{3})"


@dataclass(frozen=True, kw_only=True)
class KindOptions:
    """Options of ``vidflow shard`` that choose and read a source; see its help."""

    src: Path | None = None
    annotations: Sequence[str] = ()
    split: float | None = None
    seed: int = 0
    group_regex: str | None = None
    classes: Sequence[str] | None = None
    num_classes: int | None = None
    first_label: int | None = None
    multi_label: bool = False
    columns: Columns = USUAL_COLUMNS
    allow_missing: bool = False
    name_regex: str | None = None
    split_rules: Sequence[str] = ()
    only: Path | None = None
    leave_out: Path | None = None
    template: str | None = None
    with_offset: bool = False
    fps: float | None = None
    layout: Layout | None = None
    max_people: int | None = None
    nobody: str = "reject"
    protocol: str | None = None
    segments: Sequence[str] = ()
    array: str | None = None
    transpose: bool = False

    @property
    def spelled(self) -> dict[str, object]:
        """Options as the user writes them, with what was given; only those that are not the default."""
        default = KindOptions()
        found = {name: getattr(self, name) for name in vars(self)}
        return {
            "--" + _SPELLED.get(name, name).replace("_", "-"): value
            for name, value in found.items()
            if value != getattr(default, name)
        }


_SPELLED = {"split_rules": "split_rule", "columns": "...-column"}
_ANY = {"--src", "--annotations", "--split", "--seed", "--classes", "--num-classes", "--first-label"}
_LISTS = {"--group-regex", "--multi-label", "--...-column", "--allow-missing"}
_NAMES = {"--name-regex", "--split-rule", "--only", "--leave-out"}
_SKELETON = {"--layout", "--max-people", "--nobody", "--fps"}


def read_source(kind: str, options: KindOptions) -> SourceList:
    """The source of a kind: ``frames``, ``skeleton``, ``audio`` or ``feature``.

    Raises:
        ConfigError: options that do not belong together.
        DataError: as the source says.
    """
    if options.first_label not in (None, 0, 1):
        raise ConfigError(f"--first-label {options.first_label}: must be 0 or 1")
    if options.fps is not None and not options.fps > 0:
        raise ConfigError(f"--fps {options.fps}: must be positive")
    if options.max_people is not None and options.max_people < 1:
        raise ConfigError(f"--max-people {options.max_people}: must be at least 1")
    source = {"frames": _frames, "skeleton": _skeleton, "audio": _audio, "feature": _feature}[kind](options)
    return replace(source, options={"kind": kind, **source.options})


def _refuse_idle(options: KindOptions, used: set[str], what: str) -> None:
    if idle := sorted(options.spelled.keys() - used):
        raise ConfigError(f"{', '.join(idle)}: has no effect on {what}; leave it out")


def _files(
    options: KindOptions,
    reader: SampleReader,
    accepts: Callable[[str], bool],
    *,
    task: str,
    own: set[str],
    what: str,
    names: str | None = None,
    first_label: int = 0,
    noted: dict[str, object] | None = None,
) -> SourceList:
    """Files with one sample each: by their names, from lists, or in class folders.

    Args:
        own: options of the reader.
        names: pattern of the file names, where the format has one of its own.
        noted: what the reader was told, for dataset.json.
    """
    noted = noted or {}
    regex = options.name_regex or (names if not options.annotations else None)
    if regex is not None:
        _refuse_idle(options, _ANY - {"--annotations"} | _NAMES | own, f"{what} that are found by their names")
        source = read_named_files(
            _folder(options),
            regex,
            accepts=accepts,
            rules=[SplitRule.parse(text) for text in options.split_rules],
            split=options.split,
            seed=options.seed,
            only=options.only,
            leave_out=options.leave_out,
            classes=options.classes,
            num_classes=options.num_classes,
            first_label=first_label if options.first_label is None else options.first_label,
        )
    elif options.annotations:
        _refuse_idle(options, _ANY | _LISTS | own, f"lists of {what}")
        source = read_annotations(
            options.annotations,
            root=options.src,
            split=options.split,
            seed=options.seed,
            group_regex=options.group_regex,
            classes=options.classes,
            num_classes=options.num_classes,
            first_label=options.first_label or 0,
            multi_label=options.multi_label,
            columns=options.columns,
            allow_missing=options.allow_missing,
        )
    else:
        used = {"--src", "--split", "--seed", "--classes", "--group-regex"} | own
        _refuse_idle(options, used, f"class folders of {what}")

        def walk(folder: str, skipped: Counter[str], above: tuple[tuple[int, int], ...]) -> Iterator[str]:
            return walk_videos(folder, above, skipped, accepts)

        source = read_class_folders(
            _folder(options),
            split=options.split,
            seed=options.seed,
            group_regex=options.group_regex,
            classes=options.classes,
            walk=walk,
        )
    return with_reader(source, reader, task=task, **noted)


def _folder(options: KindOptions) -> Path:
    if options.src is None:
        raise ConfigError("give --src FOLDER")
    return options.src


def _splits_of(arguments: Sequence[str]) -> list[tuple[str | None, Path]]:
    return [named_file(argument) for argument in arguments]


def _frames(options: KindOptions) -> SourceList:
    if options.template is not None:
        template_prefix(options.template)
    own = {"--template", "--fps"}
    reader = FrameFolder(options.template, fps=options.fps)
    if options.annotations and all(_is_table(file, options.columns) for _, file in _splits_of(options.annotations)):
        noted: dict[str, object] = {"template": options.template, "fps": options.fps}
        return _files(options, reader, _any_name, task="recognition", own=own, what="frame folders", noted=noted)
    if options.annotations:
        _refuse_idle(
            options, _ANY | {"--multi-label", "--allow-missing", "--with-offset"} | own, "lists of frame folders"
        )
        return read_frame_lists(
            _splits_of(options.annotations),
            root=options.src,
            with_offset=options.with_offset,
            multi_label=options.multi_label,
            template=options.template,
            fps=options.fps,
            split=options.split,
            seed=options.seed,
            classes=options.classes,
            num_classes=options.num_classes,
            first_label=options.first_label or 0,
            allow_missing=options.allow_missing,
        )
    _refuse_idle(options, {"--src", "--split", "--seed", "--classes", "--group-regex"} | own, "class folders of frames")
    source = read_class_folders(
        _folder(options),
        split=options.split,
        seed=options.seed,
        group_regex=options.group_regex,
        classes=options.classes,
        walk=walk_frame_folders,
    )
    return with_reader(source, reader, task="recognition", template=options.template, fps=options.fps)


def _is_table(file: Path, columns: Columns) -> bool:
    """Whether a list is a CSV with a header, such as path,label,split."""
    lines = read_lines(file)
    return bool(lines) and find_header(lines[0][1], columns) is not None


def _any_name(_: str) -> bool:
    return True


def _policy(options: KindOptions, layout: Layout | None) -> SkeletonPolicy:
    return SkeletonPolicy(
        layout=options.layout or layout,
        max_people=options.max_people,
        nobody="keep" if options.nobody == "keep" else "reject",
        fps=options.fps,
    )


def _skeleton(options: KindOptions) -> SourceList:
    noted: dict[str, object] = {"layout": options.layout, "max_people": options.max_people, "nobody": options.nobody}
    noted["fps"] = options.fps
    policy = _policy(options, None)
    labels = {"--classes", "--num-classes"}
    if options.src is not None and options.src.suffix.lower() in (".pkl", ".pickle"):
        _refuse_idle(options, {"--src", "--protocol", "--split", "--seed"} | labels | _SKELETON, "a skeleton pickle")
        source = read_skeleton_pickle(
            options.src,
            policy,
            protocol=options.protocol,
            split=options.split,
            seed=options.seed,
            classes=options.classes,
            num_classes=options.num_classes,
        )
        return replace(source, options=source.options | noted)
    if options.annotations and all(argument.lower().endswith(".npy") for argument in options.annotations):
        _refuse_idle(options, {"--annotations"} | labels | _SKELETON, "skeleton arrays")
        files = _splits_of(options.annotations)
        if unnamed := [str(file) for split, file in files if split is None]:
            raise ConfigError(f"--annotations {unnamed[0]}: give its split, such as train={unnamed[0]}")
        source = read_skeleton_arrays(
            [(split or "", file) for split, file in files],
            policy,
            classes=options.classes,
            num_classes=options.num_classes,
        )
        return replace(source, options=source.options | noted)
    if options.annotations:
        either = UnpackedSkeleton(_policy(options, None), SkeletonFile(_policy(options, None)))
        what = "skeleton files"
        return _files(options, either, _any_name, task="skeleton", own=_SKELETON, what=what, noted=noted)
    folder = _folder(options)
    if not is_folder_at(folder):
        raise DataError(f"{folder}: neither a folder nor a .pkl file; .npy files go to --annotations train=FILE")
    if (folder / LABELS_NAME).is_file():
        used = {"--src", "--split-rule", "--split", "--seed", "--classes"} | _SKELETON
        _refuse_idle(options, used, "a folder of UTKinect")
        if (options.split is None) == (not options.split_rules):
            raise ConfigError("give --split-rule, such as 'train=subject % 2 == 1' and 'test', or else --split 0.9")
        source = read_utkinect(
            folder,
            policy,
            rules=[SplitRule.parse(text) for text in options.split_rules],
            split=options.split,
            seed=options.seed,
            classes=options.classes,
        )
        return replace(source, options=source.options | noted)
    suffixes = {PurePath(path).suffix.lower() for path in walk_videos(str(folder), (), Counter(), _is_skeleton_file)}
    if len(suffixes) != 1:
        listed = " and ".join(sorted(suffixes)) or "no .skeleton, .txt or .npz files"
        raise DataError(
            f"{folder}: has {listed}; give a folder of NTU .skeleton, of MSR-Action3D .txt, or of .npz files that "
            "vidflow extract pose wrote"
        )
    (suffix,) = suffixes
    if suffix == ".npz":
        npz = SkeletonNpz(policy)
        accepts = partial(_has_suffix, suffix)
        return _files(options, npz, accepts, task="skeleton", own=_SKELETON, what=".npz files", noted=noted)
    ntu = suffix == ".skeleton"
    reader: SampleReader = NtuText(_policy(options, "nturgb+d")) if ntu else MsrText(_policy(options, "msr20"))
    return _files(
        options,
        reader,
        partial(_has_suffix, suffix),
        task="skeleton",
        own=_SKELETON,
        what=f"{suffix} files",
        names=NTU_NAMES if ntu else MSR_NAMES,
        first_label=1,
        noted=noted,
    )


def _is_skeleton_file(name: str) -> bool:
    return PurePath(name).suffix.lower() in (".skeleton", ".txt", ".npz")


def _has_suffix(suffix: str, name: str) -> bool:
    return PurePath(name).suffix.lower() == suffix


def _audio(options: KindOptions) -> SourceList:
    source = _files(options, SoundFile(), has_audio_extension, task="audio", own=set(), what="sound files")
    refuse_mixture(source.items)
    return source


def _feature(options: KindOptions) -> SourceList:
    own = {"--array", "--transpose"}
    if options.segments:
        used = {"--src", "--segments", "--split", "--seed", "--classes", "--allow-missing"} | own
        _refuse_idle(options, used, "features with --segments")
        return read_segment_features(
            _folder(options),
            _splits_of(options.segments),
            array=options.array,
            transpose=options.transpose,
            split=options.split,
            seed=options.seed,
            classes=options.classes,
            allow_missing=options.allow_missing,
        )
    if options.src is not None and options.src.suffix.lower() == ".npz" and options.src.is_file():
        _refuse_idle(options, {"--src", "--array", "--split", "--seed", "--classes"}, "an .npz file of all samples")
        return read_feature_archive(
            options.src, array=options.array, split=options.split, seed=options.seed, classes=options.classes
        )
    return _files(
        options,
        UnpackedFeature(FeatureFile(options.array, options.transpose)),
        has_feature_extension,
        task="recognition",
        own=own,
        what="feature files",
        noted={"array": options.array, "transpose": options.transpose},
    )
