"""``vidflow index``."""

from typing import Annotated

import typer

from vidflow.cli.options import (
    AsJson,
    Classes,
    GroupRegex,
    MaxBytes,
    MaxCount,
    MaxRejects,
    NumClasses,
    OnDamage,
    Overwrite,
    PackedOut,
    Profile,
    Quiet,
    Seed,
    Shuffle,
    Workers,
)


def index(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="[SPLIT=]TAR...", help="WebDataset tars: paths, patterns in quotes, addresses."),
    ],
    out: PackedOut,
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
    group_regex: GroupRegex = None,
    classes: Classes = None,
    num_classes: NumClasses = None,
    first_label: Annotated[int, typer.Option("--first-label", help="The number of the first class: 0 or 1.")] = 0,
    multi_label: Annotated[bool, typer.Option("--multi-label", help="A sample may have any number of labels.")] = False,
    profile: Profile = "copy",
    max_bytes: MaxBytes = 256 << 20,
    max_count: MaxCount = 1000,
    seed: Seed = 0,
    shuffle: Shuffle = True,
    on_damage: OnDamage = "error",
    max_rejects: MaxRejects = None,
    workers: Workers = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the data set (default: the folder's).")] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
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
