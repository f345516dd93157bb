"""``vidflow shard``."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def shard(
    out: Annotated[Path, typer.Option("--out", help="Folder to write the packed data set to.")],
    src: Annotated[
        Path | None,
        typer.Option(
            "--src",
            help="Class folders; with --annotations the folder that paths are relative to (default: the list's own).",
        ),
    ] = None,
    annotations: Annotated[
        list[str] | None,
        typer.Option(
            "--annotations",
            metavar="[SPLIT=]FILE",
            help="A list of 'path label' lines or a CSV with a header; may be repeated.",
        ),
    ] = None,
    split: Annotated[
        float | None, typer.Option("--split", help="Share of train where the source has no splits, such as 0.9.")
    ] = None,
    group_regex: Annotated[
        str | None,
        typer.Option("--group-regex", help="Clips whose file names start alike stay in one split: '(.+)_clip\\d+'."),
    ] = None,
    classes: Annotated[
        Path | None, typer.Option("--classes", help="File with one class name per line, in the order of the labels.")
    ] = None,
    num_classes: Annotated[
        int | None, typer.Option("--num-classes", help="Number of classes where labels are numbers without names.")
    ] = None,
    first_label: Annotated[
        int, typer.Option("--first-label", help="The number that the list gives the first class: 0 or 1.")
    ] = 0,
    multi_label: Annotated[bool, typer.Option("--multi-label", help="A line may have any number of labels.")] = False,
    path_column: Annotated[str | None, typer.Option("--path-column", help="CSV column of the paths.")] = None,
    label_column: Annotated[str | None, typer.Option("--label-column", help="CSV column of the labels.")] = None,
    split_column: Annotated[str | None, typer.Option("--split-column", help="CSV column of the splits.")] = None,
    group_column: Annotated[str | None, typer.Option("--group-column", help="CSV column of the groups.")] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Files of the list that are missing are rejected; else an error.")
    ] = False,
    profile: Annotated[
        str, typer.Option("--profile", help="copy: keep the bytes. train: H.264, GOP 16. intra: all key frames.")
    ] = "copy",
    short_side: Annotated[
        int | None, typer.Option("--short-side", help="train, intra: shrink to this short side (default 256).")
    ] = None,
    crf: Annotated[
        int | None, typer.Option("--crf", help="train, intra: x264 quality, lower is better (default 23).")
    ] = None,
    max_bytes: Annotated[int, typer.Option("--max-bytes", help="Bytes per shard.")] = 256 << 20,
    max_count: Annotated[int, typer.Option("--max-count", help="Samples per shard.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Of the order of samples, and of --split.")] = 0,
    shuffle: Annotated[bool, typer.Option("--shuffle/--no-shuffle", help="Mix the samples of a split.")] = True,
    on_damage: Annotated[
        Literal["error", "conceal"],
        typer.Option("--on-damage", help="error: reject damaged videos. conceal: keep and count what decodes."),
    ] = "error",
    max_rejects: Annotated[
        int | None, typer.Option("--max-rejects", help="Stop at more rejected samples than this.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first rejected sample.")] = False,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes (default: one per CPU).")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the data set (default: the source's).")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what another command has packed there.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON document.")] = False,
) -> None:
    """Pack videos into tar shards with a manifest.

    Every video is decoded once, so that the manifest says what it really holds; files that do not decode are listed in
    rejected.jsonl. Running the same command again after an interruption goes on where it stopped.
    """
    from dataclasses import replace

    from vidflow.cli.console import errors, progress
    from vidflow.cli.packing_summary import print_summary
    from vidflow.errors import ConfigError
    from vidflow.shards.pack import PackOptions, pack
    from vidflow.shards.profiles import choose_profile
    from vidflow.shards.sources.annotations import read_annotations
    from vidflow.shards.sources.class_folders import read_class_folders
    from vidflow.shards.sources.classes import read_class_names
    from vidflow.shards.sources.lines import Columns
    from vidflow.shards.workers import default_workers

    class_names = None if classes is None else read_class_names(classes)
    if annotations:
        source = read_annotations(
            annotations,
            root=src,
            split=split,
            seed=seed,
            group_regex=group_regex,
            classes=class_names,
            num_classes=num_classes,
            first_label=first_label,
            multi_label=multi_label,
            columns=Columns(path=path_column, label=label_column, split=split_column, group=group_column),
            allow_missing=allow_missing,
        )
    elif src is None:
        raise ConfigError("give --src FOLDER with class folders, or --annotations FILE")
    else:
        columns_given = any((path_column, label_column, split_column, group_column))
        without_list = {
            "--num-classes": num_classes is not None,
            "--first-label": first_label != 0,
            "--multi-label": multi_label,
            "--...-column": columns_given,
            "--allow-missing": allow_missing,
        }
        if idle := [option for option, given in without_list.items() if given]:
            raise ConfigError(f"{', '.join(idle)} needs --annotations")
        if out.resolve().is_relative_to(src.resolve()):
            raise ConfigError(f"--out {out}: lies inside --src {src}; write the shards elsewhere")
        source = read_class_folders(src, split=split, seed=seed, group_regex=group_regex, classes=class_names)
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
            workers=default_workers() if workers is None else workers,
            max_rejects=0 if strict else max_rejects,
            overwrite=overwrite,
            on_progress=lambda done: bar.update(bar.task_ids[0], completed=done),
        )
    print_summary(report, out, as_json=as_json)
