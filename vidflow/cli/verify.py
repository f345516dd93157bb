"""``vidflow verify``."""

from typing import Annotated

import typer

from vidflow.cli.options import Quiet, Workers


def verify(
    root: Annotated[str, typer.Argument(help="A packed data set: a folder, s3://... or http(s)://...")],
    decode: Annotated[
        bool, typer.Option("--decode/--no-decode", help="Decode every sample, or only compare bytes.")
    ] = True,
    workers: Workers = None,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON document.")] = False,
) -> None:
    """Check a packed data set: checksums, tar members, manifest, and every frame. Exit status 8 where it differs."""
    from dataclasses import asdict

    from vidflow.cli.console import errors, print_json, progress
    from vidflow.cli.console import out as stdout
    from vidflow.dataset import PackedDataset
    from vidflow.errors import ConfigError, VerificationError
    from vidflow.shards.verification import verify_dataset
    from vidflow.shards.workers import default_workers

    if workers is not None and workers < 1:
        raise ConfigError(f"--workers {workers}: must be at least 1")
    dataset = PackedDataset.open(root)
    total = sum(shard.num_samples for shard in dataset.info.shards)
    with progress("verifying", total, quiet=quiet or not errors.is_terminal) as bar:
        found = verify_dataset(
            dataset,
            workers=default_workers() if workers is None else workers,
            decode=decode,
            on_progress=lambda done: bar.update(bar.task_ids[0], completed=done),
        )
    if as_json:
        print_json(asdict(found) | {"root": str(root), "ok": not found.differences})
    else:
        for difference in found.differences:
            stdout.print(str(difference), markup=False, highlight=False, soft_wrap=True)
    if found.differences:
        raise VerificationError(f"{root}: {len(found.differences)} differences; pack the data set again")
    if not as_json:
        how = "decoded and as recorded" if decode else "as recorded (not decoded)"
        stdout.print(
            f"{root}: {found.num_samples} samples in {found.num_shards} shards, {how}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
