"""One pass over a split: predictions into metrics, merged over processes exactly."""

from collections.abc import Iterable
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import nn

from vidflow.batch import Batch
from vidflow.cli.console import errors
from vidflow.engine.building import TaskModel
from vidflow.engine.journal import epoch_bar
from vidflow.engine.processes import any_stop, from_all, share_buffers
from vidflow.engine.signals import StopRequest
from vidflow.errors import ConfigError
from vidflow.evaluation.classification import ClassificationMetrics
from vidflow.evaluation.metric import ScoreStore
from vidflow.evaluation.multi_label import MultiLabelMetrics


def metrics_for(*, multi_label: bool) -> ClassificationMetrics | MultiLabelMetrics:
    """The metrics of a recognition set."""
    return MultiLabelMetrics() if multi_label else ClassificationMetrics()


def main_metric(wanted: str | None, *, multi_label: bool) -> str:
    """The name of the number that decides which checkpoint is best.

    Raises:
        ConfigError: no metric of that name.
    """
    known = ["mAP"] if multi_label else ["top1", "top5", "mean_class_accuracy", "macro_f1"]
    if wanted is not None and wanted not in known:
        raise ConfigError(f"train.best_metric = {wanted!r}: this data set's metrics are {', '.join(known)}")
    return wanted or known[0]


def tell_missed(metrics: ScoreStore) -> None:
    """Name the samples that could not be read, which count as wrong."""
    for sample in list(metrics.missed.values())[:8]:
        errors.print(f"missed {sample.reason}", markup=False, highlight=False, soft_wrap=True)
    if len(metrics.missed) > 8:
        errors.print(f"missed {len(metrics.missed) - 8} more", markup=False, highlight=False)


def collect(
    accelerator: Accelerator,
    model: nn.Module,
    batches: Iterable[Batch],
    metrics: Any,
    *,
    title: str,
    total: int,
    stop: StopRequest,
) -> bool:
    """Feed all predictions of a split to the metrics, on every process alike.

    Args:
        model: not wrapped; gets the first process's buffers, and is left in the mode that it had.
        batches: equally many on every process.
        metrics: updated in place; holds the samples of all processes afterwards.

    Returns:
        Whether the pass was completed; False where a signal asked to stop.
    """
    was_training = model.training
    model.eval()
    share_buffers(accelerator, model)
    finished = True
    with torch.inference_mode(), epoch_bar(title, total=total, done=0, active=accelerator.is_main_process) as bar:
        for batch in batches:
            with accelerator.autocast():
                predictions = cast(TaskModel, model).predict(batch.to(accelerator.device))
            metrics.update(predictions, batch)
            bar.advance(1)
            if any_stop(accelerator, stop.signum):
                finished = False
                break
    model.train(was_training)
    if finished:
        everyone = from_all(accelerator, metrics)
        mine = accelerator.process_index
        metrics.merge(other for rank, other in enumerate(everyone) if rank != mine)
    return finished
