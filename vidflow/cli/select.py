"""``vidflow select``."""

from typing import Annotated

import typer

from vidflow.cli.options import AsJson, EditedOut, Overwrite, PackedRoot, Quiet


def select(
    root: PackedRoot,
    out: EditedOut,
    where: Annotated[
        str, typer.Option("--where", help="Keep what this query keeps, such as 'duration > 2 and label < 200'.")
    ] = "",
    split: Annotated[list[str] | None, typer.Option("--split", help="Keep this split; may be repeated.")] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a new data set with some of the samples.

    Nothing is decoded. To train on a selection no new data set is needed: `where` in the config selects too.
    """
    from vidflow.cli.edit_run import run_edit
    from vidflow.dataset import PackedDataset
    from vidflow.errors import ConfigError
    from vidflow.shards.edits import selection

    if not where and not split:
        raise ConfigError("give --where, --split or both")
    dataset = PackedDataset.open(root)
    change = selection(dataset, splits=split, where=where)
    run_edit(dataset, out, change, overwrite=overwrite, quiet=quiet, as_json=as_json)
