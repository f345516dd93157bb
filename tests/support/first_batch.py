"""A process that makes one batch, and tells what it took."""

import json
import sys
import time

import torch

from vidflow.config.pipeline import ClipPipeline, RandomResizedCrop, SegmentSampling
from vidflow.dataset import PackedDataset


def main() -> None:
    """Print CPU seconds from opening the data set to its first batch, and whether pandas was imported."""
    pipeline = ClipPipeline(sampling=SegmentSampling(num_segments=8, random=True), crop=RandomResizedCrop(), flip=0.5)
    torch.set_num_threads(1)
    begin = time.process_time()
    from vidflow.pipelines.loader import build_loader

    batches = iter(build_loader(PackedDataset.open(sys.argv[1]), pipeline, split="train", batch_size=8, training=True))
    next(batches)
    seconds = time.process_time() - begin
    batches.close()
    sys.stdout.write(json.dumps({"seconds": seconds, "pandas": "pandas" in sys.modules}))


if __name__ == "__main__":
    main()
