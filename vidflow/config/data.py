"""[data]: which packed data sets, which splits, and how each becomes a model's input."""

from typing import Literal

from pydantic import Field, model_validator

from vidflow.config.any_pipeline import Pipeline
from vidflow.config.sources import SourceConfig
from vidflow.schema import Frozen


class DataConfig(Frozen):
    """Packed data and one pipeline per use."""

    root: str = ""
    """Folder or address that ``vidflow shard`` wrote; validation and test read it, and training where there are no
    ``sources``. May be left out with ``sources``: the first one's root is taken."""
    train_split: str = "train"
    val_split: str = "val"
    test_split: str = "val"
    where: str = ""
    """Condition over the manifest's columns, such as "duration > 2"; empty keeps all samples."""
    sources: tuple[SourceConfig, ...] = ()
    """Several data sets to train on."""
    combine: Literal["mix", "turns"] = "mix"
    """``mix``: batches hold samples of all sources. ``turns``: batches of one source each, one after the other; an
    optimizer step takes one of each, and an epoch is as long as the first source's."""
    classes: str = ""
    """File with one class name per line: the classes of the whole, in the order of their scores; empty takes those of
    all sources, in order of appearance."""
    sampling: Literal["uniform", "class-balanced"] = "uniform"
    """``class-balanced``: each class is drawn equally often in training."""
    epoch_samples: int | None = Field(default=None, gt=0)
    """Draws per epoch with weights or class-balanced sampling; None takes as many as there are samples."""
    train: Pipeline
    val: Pipeline
    test: Pipeline | None = None
    """None tests with ``val``'s pipeline."""
    executor: Literal["auto", "dali", "reference"] = "auto"
    decode: Literal["auto", "cpu", "gpu"] = "auto"
    """What decodes videos where clips are on a GPU: ``gpu`` gives NVDEC all that it takes, ``cpu`` nothing, ``auto``
    measures both at the start and says what it has chosen. Without a GPU it is the CPU."""
    num_threads: int | None = Field(default=None, gt=0)
    """CPU threads per process that decode and resample; None takes the process's share of the cores."""
    workers: Literal["auto", "threads", "processes"] = "auto"
    """Whether these threads decode themselves, taking turns at Python's lock, or a process for each of them does
    (Linux; 60 MB each). ``auto`` takes processes where there are several threads and 32 samples or more for each."""
    shuffle_window: int = Field(default=1024, gt=0)
    """Samples among which training shuffles."""
    batch_size_eval: int | None = Field(default=None, gt=0)
    """Samples per process and batch in validation and test; None takes ``train.batch_size``."""
    on_bad_sample: Literal["raise", "skip"] = "raise"
    """What training does with a sample that is damaged: end the run, or go on without it, counted and written down."""
    on_bad_sample_eval: Literal["raise", "miss"] = "raise"
    """What validation and test do: end, or count it as wrong (``num_missed``)."""
    max_skipped: float = Field(default=0.1, ge=0, le=1)
    """Part of an epoch's samples that may be skipped before the run ends after all."""
    checksums: bool = True
    """Compare the SHA-256 of each shard that is read from end to end."""
    cache: str = ""
    """Folder in which the shards of remote data sets are kept, shared by the processes of a machine; empty keeps
    none."""
    cache_bytes: int = Field(default=100 << 30, gt=0)
    """Size that the cache may have; what was not used for longest goes first."""

    @property
    def test_pipeline(self) -> Pipeline:
        return self.test or self.val

    @property
    def eval_root(self) -> str:
        """The data set of validation and test."""
        return self.root or self.sources[0].root

    @model_validator(mode="after")
    def _names_data(self) -> "DataConfig":
        if not self.root and not self.sources:
            raise ValueError("needs root, the folder or address that `vidflow shard` wrote, or [[data.sources]]")
        return self

    @model_validator(mode="after")
    def _shares_fit_together(self) -> "DataConfig":
        weighted = [source.weight is not None for source in self.sources]
        if any(weighted) and not all(weighted):
            raise ValueError("some of data.sources have a weight and some have none; give each one, or use repeat")
        balanced = self.sampling == "class-balanced"
        if balanced and (any(weighted) or any(source.repeat != 1 for source in self.sources)):
            raise ValueError("sampling = 'class-balanced' decides the shares; leave weight and repeat out")
        if self.epoch_samples and not balanced and not any(weighted):
            raise ValueError("epoch_samples is for weights and class-balanced sampling; otherwise each sample comes")
        return self

    @model_validator(mode="after")
    def _turns_fit_together(self) -> "DataConfig":
        if self.combine == "turns":
            if len(self.sources) < 2:
                raise ValueError("combine = 'turns' needs two [[data.sources]] or more")
            if any(source.weight is not None for source in self.sources):
                raise ValueError("combine = 'turns' gives each source one batch per step; leave weight out")
            if self.sampling != "uniform":
                raise ValueError(
                    f"sampling = {self.sampling!r} is not for combine = 'turns', where each source's samples come "
                    "equally often; leave one of them out"
                )
            if any(source.pipeline is not None and source.pipeline.mixing is not None for source in self.sources):
                raise ValueError("mixing belongs to [data.train], for the batches of all sources that take turns")
        elif any(source.batch_size or source.pipeline for source in self.sources):
            raise ValueError("batch_size and pipeline of single sources need combine = 'turns'")
        return self
