"""[[data.sources]]: several packed data sets to train on."""

from pydantic import Field, model_validator

from vidflow.config.any_pipeline import Pipeline
from vidflow.schema import Frozen


class SourceConfig(Frozen):
    """One of the data sets that training draws from."""

    root: str = Field(min_length=1)
    """Folder or address that ``vidflow shard`` wrote."""
    name: str = ""
    """What ``Batch.source`` says where sources take turns; empty takes the data set's own name."""
    split: str = ""
    """Empty takes ``data.train_split``."""
    where: str = ""
    """Condition over the manifest's columns, on top of ``data.where``."""
    repeat: int = Field(default=1, gt=0)
    """How often each sample comes in an epoch, each time with another plan."""
    weight: float | None = Field(default=None, gt=0)
    """Share of the epoch, relative to the other sources' weights; all sources have one, or none has."""
    label_map: dict[str, str] | str = {}
    """Names of classes that are called otherwise in the whole, as {"own name" = "common name"} or a JSON file of such;
    classes that are not in it keep their name."""
    batch_size: int | None = Field(default=None, gt=0)
    """Where sources take turns: samples per process and batch; None takes ``train.batch_size``."""
    pipeline: Pipeline | None = None
    """Where sources take turns: how this one becomes a model's input; None takes ``data.train``."""

    @model_validator(mode="after")
    def _has_one_kind_of_share(self) -> "SourceConfig":
        if self.weight is not None and self.repeat != 1:
            raise ValueError("weight and repeat exclude each other: a weight is a share of the epoch, repeat a number")
        return self
