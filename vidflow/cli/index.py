"""``vidflow index``."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def index(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="[SPLIT=]TAR...", help="WebDataset tars: paths, patterns in quotes, addresses."),
    ],
    out: Annotated[
        str, typer.Option("--out", help="Where to write the packed data set: a folder or s3://BUCKET/PREFIX.")
    ],
    label_field: Annotated[
        str | None,
        typer.Option("--label-field", help="Member with the label, or keys in a JSON member: json.action.id."),
    ] = None,
    video_field: Annotated[
        str | None, typer.Option("--video-field", help="Member with the video, where a sample has several.")
    ] = None,
    split: Annotated[
        float | None, typer.Option("--split", help="Share of train; without it and without SPLIT= all is train.")
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
    first_label: Annotated[int, typer.Option("--first-label", help="The number of the first class: 0 or 1.")] = 0,
    multi_label: Annotated[bool, typer.Option("--multi-label", help="A sample may have any number of labels.")] = False,
    profile: Annotated[
        str, typer.Option("--profile", help="copy: keep the bytes. train: H.264, GOP 16. intra: all key frames.")
    ] = "copy",
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
    workers: Annotated[int | None, typer.Option("--workers", help="Processes (default: one per CPU).")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the data set (default: the folder's).")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what another command has packed there.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON document.")] = False,
) -> None:
    """Take over WebDataset tars that others have written: probe every video, and write shards with a manifest.

    The tars stay as they are and their videos are copied, since keys, records and exact frame counts have to be in the
    shards themselves. Samples whose members lie apart, names that lead out of a folder and links are reported; pickles
    are never read.
    """
    from dataclasses import replace

    from vidflow.cli.console import errors, progress
    from vidflow.cli.packing_summary import print_summary
    from vidflow.shards.pack import PackOptions, pack
    from vidflow.shards.profiles import choose_profile
    from vidflow.shards.sources.classes import read_class_names
    from vidflow.shards.sources.foreign_tars import read_foreign_tars
    from vidflow.shards.workers import default_workers

    source = read_foreign_tars(
        sources,
        label_field=label_field,
        video_field=video_field,
        split=split,
        seed=seed,
        group_regex=group_regex,
        classes=None if classes is None else read_class_names(classes),
        num_classes=num_classes,
        first_label=first_label,
        multi_label=multi_label,
    )
    if name is not None:
        source = replace(source, name=name)
    options = PackOptions(
        profile=choose_profile(profile),
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
            max_rejects=max_rejects,
            overwrite=overwrite,
            on_progress=lambda done: bar.update(bar.task_ids[0], completed=done),
        )
    print_summary(report, out, as_json=as_json)
