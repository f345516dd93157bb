"""What ``vidflow shard`` says at its end."""

from collections import Counter

from vidflow.cli.console import errors, out, print_json
from vidflow.shards.pack import PackReport

_MAX_LISTED = 10


def print_summary(report: PackReport, folder: str, *, as_json: bool) -> None:
    """Print found = packed + rejected + skipped, with reasons, on stdout; warnings on stderr."""
    reasons = Counter(rejected.kind for rejected in report.rejected)
    for warning in report.warnings:
        errors.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)
    info = report.info
    if as_json:
        print_json(
            {
                "out": folder,
                "already_complete": report.already_complete,
                "found": report.found,
                "packed": report.packed,
                "rejected": info.num_rejected,
                "rejected_reasons": dict(reasons.most_common()),
                "skipped": dict(report.skipped.most_common()),
                "splits": {name: split.model_dump() for name, split in info.splits.items()},
                "num_shards": len(info.shards),
                "num_resumed_shards": report.num_resumed,
                "warnings": list(report.warnings),
            }
        )
        return
    lines = []
    if report.already_complete:
        lines.append(f"{folder}: complete already, nothing to do")
    elif report.num_resumed:
        lines.append(f"{folder}: went on after {report.num_resumed} finished shards")
    skipped = sum(report.skipped.values())
    lines.append(
        f"{folder}: {report.found} found = {report.packed} packed + {info.num_rejected} rejected + {skipped} skipped"
    )
    for name, split in info.splits.items():
        num_shards = sum(shard.split == name for shard in info.shards)
        lines.append(
            f"  {name}: {split.num_samples} samples, {split.num_frames} frames, {split.duration:.0f} s, "
            f"{split.size / 1e6:.1f} MB in {num_shards} shard{'s' if num_shards > 1 else ''}"
        )
    lines += [f"  rejected, {count} x {reason}" for reason, count in reasons.most_common(_MAX_LISTED)]
    if reasons:
        lines.append(f"  all rejected samples with details: {folder.rstrip('/')}/rejected.jsonl")
    lines += [f"  skipped, {count} x {reason}" for reason, count in report.skipped.most_common()]
    out.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
