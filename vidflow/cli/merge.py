"""``vidflow merge``."""

from pathlib import Path
from typing import Annotated

import typer

from vidflow.cli.options import AsJson, Quiet


def merge(
    folders: Annotated[
        list[str], typer.Argument(help="Folders or s3:// addresses of the parts, or the one that holds them all.")
    ],
    out: Annotated[
        str | None, typer.Option("--out", help="Where to join them (default: the folder that holds the parts).")
    ] = None,
    work_dir: Annotated[
        Path | None,
        typer.Option(
            "--work-dir", help="Where the manifest for s3:// is made before it is sent (default: in ~/.cache)."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there, such as the join of parts packed otherwise.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Join the parts that `vidflow shard --part I/N` has packed into one data set.

    All parts must be there, and packed alike. Shards are linked where the file system can, so that the join costs no
    room; on S3 the server copies them. The parts can be removed afterwards. Doing it twice changes nothing.
    """
    from vidflow.cli.console import errors, print_json, print_line, progress
    from vidflow.shards.merging import find_parts, parent_of
    from vidflow.shards.merging import merge as run
    from vidflow.storage import is_remote

    parts = find_parts(folders)
    place = parent_of(parts) if out is None else out
    if out is None and len(folders) == 1 and parts != folders and not is_remote(place):
        place = folders[0]  # as it was spelled
    with progress("joining", None, unit="shards", quiet=quiet or not errors.is_terminal) as bar:
        report = run(
            parts,
            place,
            work_dir=work_dir,
            overwrite=overwrite,
            on_progress=lambda done: bar.update(bar.task_ids[0], completed=done),
        )
    info = report.info
    num_samples = sum(split.num_samples for split in info.splits.values())
    if as_json:
        print_json(
            {
                "out": place,
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
