"""The last word of `make demo`: what TSM and TSN make of the demo data.

    python experiments/demo_report.py runs/tsm-demo runs/tsn-demo

Each run's folder holds scores.parquet, which testing with --dump has written. The validation split has ten clips of a
class, too few to tell a coin from a model, so "left or right" is asked of further clips, which are drawn for it.
"""

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq

from vidflow.cli.console import progress
from vidflow.demo import DemoClip, draw_clip, encode_clip
from vidflow.inference import FilePrediction, Predictor

NUM_CLIPS = 100
"""Of each of the two classes."""
SEED = 1
"""Not that of the demo data: other textures."""


def write_clips(folder: Path, num_clips: int, size: int = 96) -> list[Path]:
    """Fresh clips of "left" and "right", below folders of these names."""
    paths = []
    with progress("left or right", 2 * num_clips, unit="clips") as bar:
        for label in ("left", "right"):
            (folder / label).mkdir(parents=True)
            for number in range(num_clips):
                paths.append(folder / label / f"{number:03d}.mp4")
                encode_clip(paths[-1], *draw_clip(DemoClip("val", label, number, SEED), size))
                bar.advance(bar.task_ids[0])
    return paths


def left_or_right(predictions: Iterable[FilePrediction]) -> float:
    """How often the right one of "left" and "right" has the larger score; the files' folders tell which one is right.

    A model that cannot see the order of frames gives a clip and its reverse the same scores: it is right by chance.
    """
    right = []
    for prediction in predictions:
        if prediction.error is not None:
            raise RuntimeError(prediction.error)
        scores = {found.name: found.score for found in prediction.top}
        true = Path(prediction.path).parent.name
        right.append(scores[true] > scores["right" if true == "left" else "left"])
    return sum(right) / len(right)


def top1(scores: Path) -> tuple[float, int]:
    """Share of samples whose best class is their label, and of how many samples."""
    table = pq.read_table(scores, columns=["labels", "predicted"])
    right = [labels == [best] for labels, best in zip(*table.to_pydict().values(), strict=True)]
    return sum(right) / len(right), len(right)


def main(*runs: str) -> None:
    """Print one Markdown table."""
    with tempfile.TemporaryDirectory() as folder:
        clips = write_clips(Path(folder), NUM_CLIPS)
        shares = {}
        for run in runs:
            predictor = Predictor(run)
            shares[run] = left_or_right(predictor.iterate(clips, top=len(predictor.classes)))
    print("| run | top-1, six classes | left or right, a coin gives 0.50 |")
    print("|---|---|---|")
    for run, share in shares.items():
        accuracy, count = top1(Path(run) / "scores.parquet")
        print(f"| {Path(run).name} | {accuracy:.2f} of {count} clips | {share:.2f} of {len(clips)} fresh clips |")


if __name__ == "__main__":
    main(*sys.argv[1:])
