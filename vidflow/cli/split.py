"""``vidflow split``."""

from typing import Annotated

import typer


def split(
    root: Annotated[str, typer.Argument(help="Packed data set.")],
    out: Annotated[str, typer.Argument(help="Where to write the new one: a folder or s3://BUCKET/PREFIX.")],
    split: Annotated[float, typer.Option("--split", help="Share of train, such as 0.9.")],
    seed: Annotated[int, typer.Option("--seed", help="Another seed gives another split.")] = 0,
    only: Annotated[
        list[str] | None, typer.Option("--from", help="Split this split only; may be repeated. Others stay.")
    ] = None,
    group_regex: Annotated[
        str | None,
        typer.Option("--group-regex", help="Clips whose file names start alike stay in one split: '(.+)_clip\\d+'."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what another command has packed there.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON document.")] = False,
) -> None:
    """Split a packed data set into train and val anew: stratified by class, groups kept whole. Nothing is decoded."""
    from vidflow.cli.edit_run import run_edit
    from vidflow.dataset import PackedDataset
    from vidflow.shards.edits import splitting

    dataset = PackedDataset.open(root)
    change = splitting(dataset, ratio=split, seed=seed, only=only, group_regex=group_regex)
    run_edit(dataset, out, change, overwrite=overwrite, quiet=quiet, as_json=as_json)
