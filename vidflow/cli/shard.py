"""``vidflow shard``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vidflow.cli.options import (
    AsJson,
    Classes,
    GroupRegex,
    LabelColumn,
    MaxBytes,
    MaxCount,
    MaxRejects,
    NumClasses,
    OnDamage,
    Overwrite,
    PackedOut,
    PackedPart,
    Profile,
    Quiet,
    Seed,
    Shuffle,
    Skeletons,
    Workers,
)

_KINDS = "Frames, skeletons, sound and features"


def shard(
    out: PackedOut,
    source_place: Annotated[
        str | None,
        typer.Option(
            "--src",
            help="Class folders; with --annotations the folder or address that paths are relative to (default: the "
            "list's own folder); with --recipe the data set's folder. It may be on s3://.",
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="NAME", help="A known data set; `vidflow recipes` lists them.")
    ] = None,
    fold: Annotated[
        str | None,
        typer.Option("--fold", help="With --recipe: which of the published ways to split, such as 2 or xview."),
    ] = None,
    splits: Annotated[
        str | None, typer.Option("--splits", help="With --recipe: pack these splits only, such as train,val.")
    ] = None,
    annotations: Annotated[
        list[str] | None,
        typer.Option(
            "--annotations",
            metavar="[SPLIT=]FILE",
            help="A list of 'path label' lines or a CSV with a header; may be repeated. With --recipe: the folder of "
            "the annotation files, if they do not lie in --src.",
        ),
    ] = None,
    split: Annotated[
        float | None, typer.Option("--split", help="Share of train where the source has no splits, such as 0.9.")
    ] = None,
    group_regex: GroupRegex = None,
    classes: Classes = None,
    num_classes: NumClasses = None,
    first_label: Annotated[
        int | None, typer.Option("--first-label", help="The number that the list gives the first class: 0 or 1.")
    ] = None,
    multi_label: Annotated[bool, typer.Option("--multi-label", help="A line may have any number of labels.")] = False,
    path_column: Annotated[str | None, typer.Option("--path-column", help="CSV column of the paths.")] = None,
    label_column: LabelColumn = None,
    split_column: Annotated[str | None, typer.Option("--split-column", help="CSV column of the splits.")] = None,
    group_column: Annotated[str | None, typer.Option("--group-column", help="CSV column of the groups.")] = None,
    clip_seconds: Annotated[
        float | None,
        typer.Option(
            "--clip-seconds",
            help="With a --recipe of long videos: length of the clips; 0 keeps all that is annotated in one piece.",
        ),
    ] = None,
    stride: Annotated[
        float | None,
        typer.Option("--stride", help="With a --recipe of long videos: seconds from clip to clip (default 1)."),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Files of the list that are missing are rejected; else an error.")
    ] = False,
    kind: Annotated[
        Literal["video", "frames", "skeleton", "audio", "feature"],
        typer.Option(
            "--kind", help="What the samples are; the options below are for these kinds.", rich_help_panel=_KINDS
        ),
    ] = "video",
    name_regex: Annotated[
        str | None,
        typer.Option(
            "--name-regex",
            help="skeleton, audio, feature: names say the class, '(?P<label>\\d)_(?P<speaker>\\w+)_(?P<rep>\\d+)'; "
            "MSR-Action3D's and NTU RGB+D's names are known.",
            rich_help_panel=_KINDS,
        ),
    ] = None,
    split_rule: Annotated[
        list[str] | None,
        typer.Option(
            "--split-rule",
            metavar="SPLIT[=CONDITION]",
            help="With such names: the first rule that holds gives the split: 'train=subject % 2 == 1', then 'test'.",
            rich_help_panel=_KINDS,
        ),
    ] = None,
    only: Annotated[
        Path | None,
        typer.Option("--only", help="With such names: file that lists the ones to pack.", rich_help_panel=_KINDS),
    ] = None,
    leave_out: Annotated[
        Path | None,
        typer.Option(
            "--leave-out", help="With such names: file that lists the ones to pass over.", rich_help_panel=_KINDS
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option("--fps", help="frames, skeleton: frames per second, where known.", rich_help_panel=_KINDS),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            "--template", help="frames: how they are called, img_%05d.jpg (default: found).", rich_help_panel=_KINDS
        ),
    ] = None,
    with_offset: Annotated[
        bool,
        typer.Option(
            "--with-offset", help="frames: list lines are 'folder offset total_frames label'.", rich_help_panel=_KINDS
        ),
    ] = False,
    layout: Annotated[
        Literal["coco", "openpose", "nturgb+d", "kinect20", "msr20", "custom"] | None,
        typer.Option(
            "--layout", help="skeleton: what the keypoints are (default: by their number).", rich_help_panel=_KINDS
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            help="skeleton: which splits of a .pkl, xsub for xsub_train and xsub_val.",
            rich_help_panel=_KINDS,
        ),
    ] = None,
    max_people: Annotated[
        int | None,
        typer.Option(
            "--max-people", help="skeleton: keep those with the highest scores or most motion.", rich_help_panel=_KINDS
        ),
    ] = None,
    nobody: Annotated[
        Literal["reject", "keep"],
        typer.Option("--nobody", help="skeleton: samples without any keypoint.", rich_help_panel=_KINDS),
    ] = "reject",
    skeletons: Skeletons = None,
    segments: Annotated[
        list[str] | None,
        typer.Option(
            "--segments",
            metavar="[SPLIT=]FILE",
            help="feature: JSON of actions in time, as ActivityNet's; --src holds VIDEO.npy, .csv, .mat or .pt.",
            rich_help_panel=_KINDS,
        ),
    ] = None,
    array: Annotated[
        str | None,
        typer.Option("--array", help="feature: which array of an .npz, .mat or .pt file.", rich_help_panel=_KINDS),
    ] = None,
    transpose: Annotated[
        bool, typer.Option("--transpose", help="feature: the files have [C, T].", rich_help_panel=_KINDS)
    ] = False,
    profile: Profile = "copy",
    short_side: Annotated[
        int | None, typer.Option("--short-side", help="train, intra: shrink to this short side (default 256).")
    ] = None,
    crf: Annotated[
        int | None, typer.Option("--crf", help="train, intra: x264 quality, lower is better (default 23).")
    ] = None,
    max_bytes: MaxBytes = 256 << 20,
    max_count: MaxCount = 1000,
    seed: Seed = 0,
    shuffle: Shuffle = True,
    on_damage: OnDamage = "error",
    max_rejects: MaxRejects = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first rejected sample.")] = False,
    workers: Workers = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option("--engine", help="local: processes of this machine. ray: the CPUs of a Ray cluster."),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            help="ray: auto, local, HOST:PORT or ray://HOST:PORT (default: $RAY_ADDRESS, or Ray started here).",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the data set (default: the source's).")] = None,
    part: PackedPart = None,
    overwrite: Overwrite = False,
    work_dir: Annotated[
        Path | None,
        typer.Option("--work-dir", help="Where shards for s3:// are made before they are sent (default: in ~/.cache)."),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Pack videos into tar shards with a manifest.

    Every video is decoded once, so that the manifest says what it really holds; files that do not decode are listed in
    rejected.jsonl. Running the same command again after an interruption goes on where it stopped.
    """
    from dataclasses import replace
    from functools import partial

    from vidflow.cli.console import errors, progress
    from vidflow.cli.packing_summary import print_summary
    from vidflow.errors import ConfigError
    from vidflow.shards.pack import PackOptions, pack
    from vidflow.shards.parts import Part
    from vidflow.shards.profiles import choose_profile
    from vidflow.shards.ray_engine import RayEngine
    from vidflow.shards.recipes.reading import read_recipe
    from vidflow.shards.recipes.recipe import load_recipe
    from vidflow.shards.sources.annotations import read_annotations
    from vidflow.shards.sources.bucket_mirrors import open_mirror
    from vidflow.shards.sources.by_kind import KindOptions, read_source
    from vidflow.shards.sources.class_folders import read_class_folders
    from vidflow.shards.sources.classes import read_class_names
    from vidflow.shards.sources.companions import with_skeletons
    from vidflow.shards.sources.lines import Columns
    from vidflow.storage import is_remote

    remote_src = source_place if source_place is not None and is_remote(source_place) else None
    src = None if source_place is None or remote_src is not None else Path(source_place)
    mirror = None
    if remote_src is not None and (recipe is not None or kind != "video"):
        mirror = open_mirror(remote_src, kind, None if recipe is None else load_recipe(recipe))
        src = mirror.root
    elif remote_src is not None and not annotations and not remote_src.startswith("s3://"):
        raise ConfigError(f"--src {remote_src}: a web server does not list its files; list them in --annotations FILE")
    if work_dir is not None and not is_remote(out):
        raise ConfigError(f"--work-dir {work_dir}: is for --out s3://...; shards for a folder are made in it")
    if ray_address is not None and engine != "ray":
        raise ConfigError(f"--ray-address {ray_address}: needs --engine ray")
    share = None if part is None else Part.parse(part)
    class_names = None if classes is None else read_class_names(classes)
    of_kinds = {
        "name_regex": name_regex,
        "split_rules": tuple(split_rule or ()),
        "only": only,
        "leave_out": leave_out,
        "template": template,
        "with_offset": with_offset,
        "fps": fps,
        "layout": layout,
        "max_people": max_people,
        "nobody": nobody,
        "protocol": protocol,
        "segments": tuple(segments or ()),
        "array": array,
        "transpose": transpose,
    }
    of_recipes = {"--fold": fold, "--splits": splits, "--clip-seconds": clip_seconds, "--stride": stride}
    if recipe is not None:
        own_ways = {
            "--kind": kind != "video",
            "--split": split is not None,
            "--group-regex": group_regex is not None,
            "--num-classes": num_classes is not None,
            "--first-label": first_label is not None,
            "--multi-label": multi_label,
            "--...-column": any((path_column, label_column, split_column, group_column)),
            **dict.fromkeys(sorted(KindOptions(**of_kinds).spelled), True),  # type: ignore[arg-type]
        }
        if idle := [option for option, given in own_ways.items() if given]:
            raise ConfigError(f"{', '.join(idle)}: the recipe knows that; leave it out, or pack with --annotations")
        if src is None:
            raise ConfigError(f"--recipe {recipe} needs --src, the data set's folder; see `vidflow recipes {recipe}`")
        if annotations and len(annotations) > 1:
            raise ConfigError("--annotations: with --recipe it is one folder")
        known = load_recipe(recipe)
        if known.kind != "video" and profile != "copy":
            raise ConfigError(f"--profile {profile}: is for video; samples of kind {known.kind} are kept as they are")
        source = (read_recipe if mirror is None else partial(mirror.read, read_recipe))(
            known,
            src,
            annotations=Path(annotations[0]) if annotations else None,
            fold=int(fold) if fold is not None and fold.isdecimal() else fold,
            splits=tuple(word.strip() for word in splits.split(",") if word.strip()) if splits else (),
            classes=class_names,
            allow_missing=allow_missing,
            clip_seconds=clip_seconds,
            stride=stride,
        )
    elif needing := [option for option, value in of_recipes.items() if value is not None]:
        raise ConfigError(f"{needing[0]} needs --recipe")
    elif kind != "video":
        source = (read_source if mirror is None else partial(mirror.read, read_source))(
            kind,
            KindOptions(
                src=src,
                annotations=annotations or (),
                split=split,
                seed=seed if split is not None else 0,
                group_regex=group_regex,
                classes=class_names,
                num_classes=num_classes,
                first_label=first_label,
                multi_label=multi_label,
                columns=Columns(path=path_column, label=label_column, split=split_column, group=group_column),
                allow_missing=allow_missing,
                **of_kinds,  # type: ignore[arg-type]
            ),
        )
        if profile != "copy":
            raise ConfigError(f"--profile {profile}: is for video; samples of kind {kind} are kept as they are")
        if (
            src is not None
            and src.is_dir()
            and not is_remote(out)
            and Path(out).resolve().is_relative_to(src.resolve())
        ):
            raise ConfigError(f"--out {out}: lies inside --src {src}; write the shards elsewhere")
    elif idle := sorted(KindOptions(**of_kinds).spelled):  # type: ignore[arg-type]
        raise ConfigError(f"{', '.join(idle)}: has no effect on video; give --kind, or leave it out")
    elif annotations:
        source = read_annotations(
            annotations,
            root=remote_src or src,
            split=split,
            seed=seed,
            group_regex=group_regex,
            classes=class_names,
            num_classes=num_classes,
            first_label=first_label or 0,
            multi_label=multi_label,
            columns=Columns(path=path_column, label=label_column, split=split_column, group=group_column),
            allow_missing=allow_missing,
        )
    elif source_place is None:
        raise ConfigError("give --src FOLDER with class folders, or --annotations FILE")
    else:
        columns_given = any((path_column, label_column, split_column, group_column))
        without_list = {
            "--num-classes": num_classes is not None,
            "--first-label": first_label is not None,
            "--multi-label": multi_label,
            "--...-column": columns_given,
            "--allow-missing": allow_missing,
        }
        if idle := [option for option, given in without_list.items() if given]:
            raise ConfigError(f"{', '.join(idle)} needs --annotations")
        ways = {"split": split, "seed": seed, "group_regex": group_regex, "classes": class_names}
        if remote_src is not None:
            from vidflow.shards.sources.bucket_folders import read_bucket_folders

            source = read_bucket_folders(remote_src, **ways)  # type: ignore[arg-type]
        else:
            assert src is not None
            if not is_remote(out) and Path(out).resolve().is_relative_to(src.resolve()):
                raise ConfigError(f"--out {out}: lies inside --src {src}; write the shards elsewhere")
            source = read_class_folders(src, **ways)  # type: ignore[arg-type]
    if mirror is not None and engine == "ray" and not all(is_remote(item.path) for item in source.items):
        raise ConfigError(f"--src {remote_src}: is one file, which the nodes do not have; leave --engine out")
    if skeletons is not None:
        source = with_skeletons(source, skeletons)
    if name is not None:
        source = replace(source, name=name)
    options = PackOptions(
        profile=choose_profile(profile, short_side=short_side, crf=crf),
        max_bytes=max_bytes,
        max_count=max_count,
        seed=seed,
        shuffle=shuffle,
        on_damage=on_damage,
    )
    with progress("packing", len(source.items), quiet=quiet or not errors.is_terminal) as bar:
        report = pack(
            source,
            out,
            options,
            workers=workers,
            engine=RayEngine(address=ray_address, workers=workers) if engine == "ray" else None,
            max_rejects=0 if strict else max_rejects,
            overwrite=overwrite,
            work_dir=work_dir,
            part=share,
            on_progress=lambda done: bar.update(bar.task_ids[0], completed=done),
        )
    print_summary(report, out, as_json=as_json)
