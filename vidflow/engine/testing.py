"""``evaluate_run``: the metrics of a trained run on a split, over any number of processes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from vidflow.cli.console import errors
from vidflow.config.experiment import Experiment
from vidflow.dataset import PackedDataset
from vidflow.engine.building import use_channels_last
from vidflow.engine.checkpoint import load_exactly
from vidflow.engine.data import evaluation_loader, open_evaluation
from vidflow.engine.decoding import DecoderAccount
from vidflow.engine.evaluate import collect, metrics_for, tell_missed
from vidflow.engine.labels import check_labels
from vidflow.engine.processes import accelerate_session
from vidflow.engine.runs import RunFolder
from vidflow.engine.seeding import determinism
from vidflow.engine.signals import StoppedError, StopRequest
from vidflow.errors import ConfigError
from vidflow.evaluation.metric import ScoreStore
from vidflow.evaluation.score_files import ScoreFile, write_score_file
from vidflow.models import build_model


@dataclass(frozen=True)
class RunReport:
    """The outcome of a test."""

    run: str
    weights: str
    split: str
    num_samples: int
    metrics: dict[str, float]
    is_main_process: bool
    """Whether this process is the one that reports."""


def evaluate_run(
    run: RunFolder, config: Experiment, *, checkpoint: str = "best", split: str | None = None, dump: Path | None = None
) -> RunReport:
    """Test a run's weights.

    Args:
        config: the run's own, with what the test overrides.
        checkpoint: ``best``, ``last``, or the path of a weights file or checkpoint folder.
        split: None takes the config's test split.
        dump: Parquet file for the scores of all samples: index, id, labels, scores, predicted.

    Raises:
        WeightsError: no such checkpoint, or weights that do not fit the model.
        ConfigError, DataError: as in training.
        StoppedError: SIGTERM or SIGINT.
    """
    if dump is not None and dump.suffix != ".parquet":
        raise ConfigError(f"--dump {dump}: the scores are written as Parquet; let the name end in .parquet")
    weights = run.weights(checkpoint)
    split = split or config.data.test_split
    with (
        determinism(config.deterministic),
        accelerate_session(config.train.precision) as accelerator,
        StopRequest() as stop,
    ):
        # What the scores stand for was settled in training; files that the config names may have changed.
        dataset, indices = open_evaluation(config.data, split, run.classes().names)
        multi_label = dataset.info.multi_label
        num_classes = config.model.num_classes or len(dataset.info.classes)
        model = build_model(
            config.model.name,
            num_classes=num_classes,
            multi_label=multi_label,
            data_classes=dataset.info.classes,
            **config.model.options,
        )
        load_exactly(model, weights)
        model = model.to(accelerator.device).eval()
        if accelerator.device.type == "cpu":
            use_channels_last(model)
        check_labels(dataset, indices, split=split, num_classes=num_classes)
        pipeline = config.data.test_pipeline
        loader = evaluation_loader(config, dataset, indices, accelerator, split=split, pipeline=pipeline)

        def tell(text: str) -> None:
            if accelerator.is_main_process:
                errors.print(text, markup=False, highlight=False, soft_wrap=True)

        decoders = DecoderAccount(accelerator, tell=tell)
        decoders.chosen("test", loader, None, step=0)
        metrics = metrics_for(multi_label=multi_label)
        if not collect(accelerator, model, loader, metrics, title=f"test on {split}", total=len(loader), stop=stop):
            raise StoppedError(stop.signum, f"stopped by signal {stop.signum} before the test was complete")
        decoders.end_epoch("test", loader, None, epoch=1, step=0)
        if accelerator.is_main_process:
            tell_missed(metrics)
        if dump is not None and accelerator.is_main_process:
            write_scores(dump, metrics, dataset)
        is_main = accelerator.is_main_process
    return RunReport(str(run.path), str(weights), split, len(metrics), metrics.compute(), is_main)


def write_scores(path: Path, metrics: ScoreStore, dataset: PackedDataset) -> None:
    """Write the scores of all samples; see ``vidflow.evaluation.score_files``."""
    indices, scores, labels = metrics.arrays()
    multi_label = labels.ndim == 2
    listed = (
        tuple(tuple(np.flatnonzero(row > 0.5).tolist()) for row in labels)
        if multi_label
        else tuple((int(label),) for label in labels)
    )
    file = ScoreFile(
        name=str(path),
        scores=scores,
        labels=listed,
        ids=tuple(dataset.table.column("id").take(pa.array(indices)).to_pylist()),
        multi_label=multi_label,
        classes=dataset.info.classes,
    )
    write_score_file(path, file, indices)
