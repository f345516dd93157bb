"""Loading weights of ours and of other projects."""

from vidflow.models.weights.checkpoint import Checkpoint, read_checkpoint
from vidflow.models.weights.head_rows import read_head_rows
from vidflow.models.weights.loading import LoadReport, load_weights
from vidflow.models.weights.source import fetch

__all__ = ["Checkpoint", "LoadReport", "fetch", "load_weights", "read_checkpoint", "read_head_rows"]
