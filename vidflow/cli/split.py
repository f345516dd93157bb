"""``vidflow split``."""

from typing import Annotated

import typer

from vidflow.cli.options import AsJson, EditedOut, GroupRegex, Overwrite, PackedRoot, Quiet


def split(
    root: PackedRoot,
    out: EditedOut,
    split: Annotated[float, typer.Option("--split", help="Share of train, such as 0.9.")],
    seed: Annotated[int, typer.Option("--seed", help="Another seed gives another split.")] = 0,
    only: Annotated[
        list[str] | None, typer.Option("--from", help="Split this split only; may be repeated. Others stay.")
    ] = None,
    group_regex: GroupRegex = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Split a packed data set into train and val anew: stratified by class, groups kept whole. Nothing is decoded."""
    from vidflow.cli.edit_run import run_edit
    from vidflow.dataset import PackedDataset
    from vidflow.shards.edits import splitting

    dataset = PackedDataset.open(root)
    change = splitting(dataset, ratio=split, seed=seed, only=only, group_regex=group_regex)
    run_edit(dataset, out, change, overwrite=overwrite, quiet=quiet, as_json=as_json)
