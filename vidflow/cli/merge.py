"""``vidflow merge``."""

from pathlib import Path
from typing import Annotated

import typer


def merge(
    folders: Annotated[list[str], typer.Argument(help="Folders of the parts, or the folder that holds them all.")],
    out: Annotated[
        str | None, typer.Option("--out", help="Where to join them (default: the folder that holds the parts).")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON document.")] = False,
) -> None:
    """Join the parts that `vidflow shard --part I/N` has packed into one data set.

    All parts must be there, and packed alike. Shards are linked where the file system can, so that the join costs no
    room; the folders of the parts can be removed afterwards. Doing it twice changes nothing.
    """
    from vidflow.cli.console import errors, print_json, print_line, progress
    from vidflow.errors import ConfigError
    from vidflow.shards.merging import find_parts
    from vidflow.shards.merging import merge as run
    from vidflow.storage import is_remote

    if remote := [place for place in (*folders, out or "") if is_remote(place)]:
        raise ConfigError(f"{remote[0]}: parts are joined in local folders only; fetch them first")
    parts = [Path(folder) for folder in folders]
    if out is not None:
        place = Path(out)
    else:
        parents = {folder.resolve().parent for folder in find_parts(parts)}
        if len(parents) > 1:
            raise ConfigError("the parts lie in several folders; give --out")
        place = parts[0] if len(parts) == 1 and parts[0].resolve() in parents else parents.pop()
    with progress("joining", None, unit="shards", quiet=quiet or not errors.is_terminal) as bar:
        report = run(parts, place, on_progress=lambda done: bar.update(bar.task_ids[0], completed=done))
    info = report.info
    num_samples = sum(split.num_samples for split in info.splits.values())
    if as_json:
        print_json(
            {
                "out": str(place),
                "already_complete": report.already_complete,
                "parts": report.num_parts,
                "packed": num_samples,
                "rejected": info.num_rejected,
                "splits": {name: split.model_dump() for name, split in info.splits.items()},
                "num_shards": len(info.shards),
                "num_linked_shards": report.num_linked,
            }
        )
        return
    if report.already_complete:
        print_line(f"{place}: complete already, nothing to do")
    print_line(
        f"{place}: {report.num_parts} parts with {num_samples} packed + {info.num_rejected} rejected samples "
        f"in {len(info.shards)} shards"
    )
