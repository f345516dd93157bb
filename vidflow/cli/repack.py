"""``vidflow repack``."""

from typing import Annotated

import typer

from vidflow.cli.options import AsJson, EditedOut, Overwrite, PackedRoot, Quiet


def repack(
    root: PackedRoot,
    out: EditedOut,
    max_bytes: Annotated[int | None, typer.Option("--max-bytes", help="Bytes per shard (default: as it is).")] = None,
    max_count: Annotated[int | None, typer.Option("--max-count", help="Samples per shard (default: as it is).")] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="Re-encode: train (H.264, GOP 16) or intra (all key frames).")
    ] = None,
    short_side: Annotated[
        int | None, typer.Option("--short-side", help="With --profile: shrink to this short side (default 256).")
    ] = None,
    crf: Annotated[int | None, typer.Option("--crf", help="With --profile: x264 quality (default 23).")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Mix the samples of each split anew (default: keep their order).")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="With --profile: processes (default: one per CPU).")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write the samples of a packed data set in other shards, in another order, or re-encoded."""
    from vidflow.cli.console import errors, progress
    from vidflow.cli.edit_run import run_edit
    from vidflow.cli.packing_summary import print_summary
    from vidflow.dataset import PackedDataset
    from vidflow.errors import ConfigError
    from vidflow.shards.edits import reencode, reordering
    from vidflow.shards.profiles import choose_profile
    from vidflow.shards.workers import default_workers

    if profile is None and (short_side is not None or crf is not None or workers is not None):
        raise ConfigError("--short-side, --crf and --workers need --profile")
    dataset = PackedDataset.open(root)
    if profile is None:
        change = reordering(dataset, max_bytes=max_bytes, max_count=max_count, seed=seed)
        run_edit(dataset, out, change, overwrite=overwrite, quiet=quiet, as_json=as_json)
        return
    with progress("re-encoding", len(dataset), quiet=quiet or not errors.is_terminal) as bar:
        report = reencode(
            dataset,
            out,
            choose_profile(profile, short_side=short_side, crf=crf),
            max_bytes=max_bytes,
            max_count=max_count,
            seed=seed,
            workers=default_workers() if workers is None else workers,
            overwrite=overwrite,
            on_progress=lambda done: bar.update(bar.task_ids[0], completed=done),
        )
    print_summary(report, out, as_json=as_json)
