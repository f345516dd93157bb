"""``vidflow relabel``."""

from pathlib import Path
from typing import Annotated

import typer

from vidflow.cli.options import AsJson, EditedOut, LabelColumn, Overwrite, PackedRoot, Quiet


def relabel(
    root: PackedRoot,
    out: EditedOut,
    renamed: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="OLD=NEW", help="Rename a class; may be repeated. Two with one new name merge."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", metavar="FILE", help="A list or CSV of ids and labels; samples not in it keep theirs."
        ),
    ] = None,
    classes: Annotated[
        Path | None, typer.Option("--classes", help="File with the new class names, one per line, in order.")
    ] = None,
    path_column: Annotated[str | None, typer.Option("--path-column", help="CSV column of the ids.")] = None,
    label_column: LabelColumn = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Change the labels of a packed data set. Nothing is decoded."""
    from vidflow.cli.edit_run import run_edit
    from vidflow.dataset import PackedDataset
    from vidflow.errors import ConfigError
    from vidflow.shards.relabeling import parse_map, relabeling, renaming
    from vidflow.shards.sources.classes import read_class_names
    from vidflow.shards.sources.lines import Columns

    if renamed and labels is not None:
        raise ConfigError("--map and --labels: do one after the other")
    if labels is None and not renamed and classes is None:
        raise ConfigError("give --map OLD=NEW, --labels FILE, or --classes FILE for another order")
    if labels is None and (path_column or label_column):
        raise ConfigError("--path-column and --label-column need --labels")
    dataset = PackedDataset.open(root)
    names = None if classes is None else read_class_names(classes)
    if labels is not None:
        columns = Columns(path=path_column, label=label_column)
        change = relabeling(dataset, labels, classes=names, columns=columns)
    else:
        change = renaming(dataset, parse_map(renamed or [], dataset.info.classes), classes=names)
    run_edit(dataset, out, change, overwrite=overwrite, quiet=quiet, as_json=as_json)
