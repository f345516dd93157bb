"""[data]: which packed data set, which splits, and how each becomes clips."""

from typing import Literal

from pydantic import Field

from vidflow.config.pipeline import ClipPipeline
from vidflow.schema import Frozen


class DataConfig(Frozen):
    """A packed data set and one clip pipeline per use."""

    root: str = Field(min_length=1)
    """Folder or address that ``vidflow shard`` wrote."""
    train_split: str = "train"
    val_split: str = "val"
    test_split: str = "val"
    where: str = ""
    """Condition over the manifest's columns, such as "duration > 2"; empty keeps all samples."""
    train: ClipPipeline
    val: ClipPipeline
    test: ClipPipeline | None = None
    """None tests with ``val``'s pipeline."""
    executor: Literal["auto", "dali", "reference"] = "auto"
    num_threads: int | None = Field(default=None, gt=0)
    """CPU threads per process that decode and resample; None takes the process's share of the cores."""
    shuffle_window: int = Field(default=1024, gt=0)
    """Samples among which training shuffles."""
    batch_size_eval: int | None = Field(default=None, gt=0)
    """Samples per process and batch in validation and test; None takes ``train.batch_size``."""

    @property
    def test_pipeline(self) -> ClipPipeline:
        return self.test or self.val
