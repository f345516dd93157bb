"""What the commands that edit a packed data set share: the run with its progress bar, and the summary."""

from collections import Counter

from vidflow.cli.console import errors, progress
from vidflow.cli.packing_summary import print_summary
from vidflow.dataset import PackedDataset
from vidflow.shards.editing import Edit, edit
from vidflow.shards.pack import PackReport


def run_edit(dataset: PackedDataset, out: str, change: Edit, *, overwrite: bool, quiet: bool, as_json: bool) -> None:
    """Write the edited data set and say what is in it."""
    with progress("writing", len(change.positions), quiet=quiet or not errors.is_terminal) as bar:
        outcome = edit(
            dataset,
            out,
            change,
            overwrite=overwrite,
            on_progress=lambda done: bar.update(bar.task_ids[0], completed=done),
        )
    report = PackReport(
        info=outcome.info,
        already_complete=outcome.already_complete,
        num_resumed=outcome.num_resumed,
        packed=sum(split.num_samples for split in outcome.info.splits.values()),
        rejected=outcome.rejected,
        skipped=Counter(),
        warnings=(),
    )
    print_summary(report, out, as_json=as_json)
