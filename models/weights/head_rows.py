"""Starting a classifier from some rows of another one's: classes that the two data sets share.

MMAction2 does so for its Kinetics-710 models (configs/recognition/uniformerv2/k710_channel_map): a JSON list tells for
each class of Kinetics-400, 600 or 700 which of the 710 rows names it.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from vidflow.errors import ConfigError, WeightsError
from vidflow.models.weights.checkpoint import Checkpoint


def read_head_rows(path: str) -> list[int]:
    """For each class in order, the row of the other classifier.

    Raises:
        ConfigError: the file is no JSON list of whole numbers.
    """
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"model.head_rows = {path!r} cannot be read ({error})") from error
    if not isinstance(rows, list) or not rows or not all(type(row) is int and row >= 0 for row in rows):
        raise ConfigError(f"model.head_rows: {path} must be a JSON list with one row number, from 0, for each class")
    return rows


def take_head_rows(
    model: nn.Module, checkpoint: Checkpoint, targets: dict[str, str], rows: Sequence[int]
) -> Checkpoint:
    """The file with the rows of its head that the model's classes start from.

    Args:
        targets: names in the file -> names in the model.
        rows: K of them.

    Raises:
        WeightsError: the file has no head, or one without those rows, or the model another number of classes.
    """
    heads = tuple(getattr(model, "head_prefixes", ("head.",)))
    own = model.state_dict()
    names = [name for name, target in targets.items() if target in own and heads and target.startswith(heads)]
    if not names:
        raise WeightsError(f"{checkpoint.path}: has no classifier of which model.head_rows could choose rows")
    chosen = dict(checkpoint.tensors)
    for name in names:
        tensor, expected = chosen[name], len(own[targets[name]])
        if len(rows) != expected:
            raise WeightsError(
                f"model.head_rows gives {len(rows)} rows, and the model's {targets[name]} has {expected}"
            )
        if max(rows) >= len(tensor):
            raise WeightsError(
                f"model.head_rows asks for row {max(rows)}, and {name} of {checkpoint.path} has rows 0 to "
                f"{len(tensor) - 1}"
            )
        chosen[name] = tensor[torch.tensor(rows)]
    return replace(checkpoint, tensors=chosen)
