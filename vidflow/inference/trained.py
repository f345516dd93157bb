"""A model ready to predict: of a run, or of a config with a file of weights."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from vidflow.config.experiment import Experiment
from vidflow.config.loading import load_config
from vidflow.engine.checkpoint import load_exactly
from vidflow.engine.data import read_classes
from vidflow.engine.runs import RunFolder
from vidflow.errors import ConfigError
from vidflow.models import build_model
from vidflow.models.weights.loading import load_weights


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model, the config that says how its inputs are made, and what its scores stand for."""

    config: Experiment
    model: nn.Module
    """On the CPU, in evaluation mode."""
    weights: str
    """Where they come from."""
    classes: tuple[str, ...]
    """Names in the order of the scores."""

    def with_labels(self, labels: Sequence[str]) -> "TrainedModel":
        """The same model for classes of other names.

        Raises:
            ConfigError: it knows no names.
        """
        name_classes = getattr(self.model, "name_classes", None)
        if name_classes is None:
            name = self.config.model.name
            raise ConfigError(f"model {name!r} cannot classify by other names (labels); ActionCLIP can")
        name_classes(labels)
        return TrainedModel(self.config, self.model, self.weights, tuple(labels))


def model_of_run(
    run: str | os.PathLike[str], *, checkpoint: str = "best", overrides: Sequence[str] = ()
) -> TrainedModel:
    """The model of a run's folder.

    Args:
        checkpoint: ``best``, ``last``, or the path of a weights file or checkpoint folder.
        overrides: ``KEY=VALUE`` over the run's config, such as ``data.root=elsewhere``.

    Raises:
        ConfigError: no run there, or an override that does not fit.
        WeightsError: no such checkpoint, or weights that do not fit the model.
    """
    folder = RunFolder(Path(run))
    config = folder.config(overrides)
    weights = folder.weights(checkpoint)
    classes = folder.classes()
    model = build_model(
        config.model.name,
        num_classes=len(classes.names),
        multi_label=classes.multi_label,
        data_classes=classes.names,
        **config.model.options,
    )
    load_exactly(model, weights)
    return TrainedModel(config, model.eval(), str(weights), classes.names)


def model_of_config(
    cfg: str, weights: str, *, classes: str | os.PathLike[str] | None = None, overrides: Sequence[str] = ()
) -> TrainedModel:
    """The model of a config with weights from a file, such as a published one.

    Args:
        cfg: path, or name of a config that comes with vidflow.
        weights: path or ``http(s)://`` address; see ``load_weights``.
        classes: file with one class name per line; None takes the config's ``data.classes``, and where there are none
            the numbers of the classes.
        overrides: ``KEY=VALUE`` over the config.

    Raises:
        ConfigError: no such config, names of another number of classes than the model has, or none of both.
        WeightsError: weights that cannot be had, or that do not fit the model.
    """
    config = load_config(cfg, overrides)
    file = str(classes) if classes is not None else config.data.classes
    names = read_classes(file) if file else ()
    num_classes = config.model.num_classes or len(names)
    if not num_classes:
        raise ConfigError(f"{cfg}: the number of classes is the data set's; give --classes FILE with their names")
    if names and len(names) != num_classes:
        raise ConfigError(f"{file}: has {len(names)} names, the model of {cfg} has {num_classes} classes")
    names = names or tuple(str(number) for number in range(num_classes))
    options: dict[str, Any] = config.model.options
    model = build_model(config.model.name, num_classes=num_classes, data_classes=names, **options)
    report = load_weights(model, weights, mode="strict")
    return TrainedModel(config, model.eval(), report.source, names)
