"""Putting the tensors of a file into a model, and saying exactly what fitted."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from vidflow.errors import WeightsError
from vidflow.models.weights.checkpoint import Checkpoint, read_checkpoint
from vidflow.models.weights.head_rows import take_head_rows
from vidflow.models.weights.source import OnBytes, fetch, sha256_of

_BACKBONE = "backbone."
# Counters of BatchNorm that files from before torch 0.4.1 lack and that only matter for a cumulative average.
_OPTIONAL = "num_batches_tracked"
_SHOWN = 6


@dataclass(frozen=True)
class Mismatch:
    """A tensor of another shape than the model's."""

    name: str
    file_shape: tuple[int, ...]
    model_shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} is {list(self.file_shape)} in the file and {list(self.model_shape)} in the model"


@dataclass(frozen=True)
class LoadReport:
    """What fitted. Names are the model's, except for ``unexpected``."""

    source: str
    sha256: str
    origin: str
    """The project whose names the file has."""
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    """In the model, not in the file."""
    unexpected: tuple[str, ...]
    """In the file, not in the model."""
    mismatched: tuple[Mismatch, ...]
    replaced: tuple[str, ...] = ()
    """Of the head, kept as they were drawn since the file has none that fits."""

    def summary(self) -> str:
        """One line, and one for each kind of trouble."""
        lines = [f"{self.source} ({self.origin} names): {len(self.matched)} tensors match"]
        if self.replaced:
            lines.append(f"drawn anew: {_listed(self.replaced)}")
        for label, names in (
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("mismatched", self.mismatched),
        ):
            left = [str(n) for n in names if (n.name if isinstance(n, Mismatch) else n) not in self.replaced]
            if left:
                lines.append(f"{label}: {_listed(left)}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def translate(names: list[str], own: set[str], keys: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """A file's parameter names -> the model's; a name that has no counterpart becomes what the patterns make of it.

    Args:
        own: the names of the model.
        keys: patterns of other projects' names, see ``vidflow.models.weights.keys``.
    """
    patterns = [(re.compile(pattern), replacement) for pattern, replacement in keys]

    def renamed(name: str) -> str:
        for pattern, replacement in patterns:
            if found := pattern.fullmatch(name):
                return found.expand(replacement)
        return name

    translated = {}
    for name in names:
        candidate = name if name in own else renamed(name)
        if candidate not in own:
            # A backbone alone, of ours or of another project, or a whole model's file for a backbone.
            for other in (_BACKBONE + candidate, candidate.removeprefix(_BACKBONE), renamed(_BACKBONE + name)):
                if other in own:
                    candidate = other
        translated[name] = candidate
    return translated


def targets_of(model: nn.Module, checkpoint: Checkpoint) -> dict[str, str]:
    """Names in a file -> names in a model, of the part of the file that the model takes (``foreign_scopes``)."""
    scope = getattr(model, "foreign_scopes", {}).get(checkpoint.origin, "")
    scoped = [name for name in checkpoint.tensors if name.startswith(scope)]
    return translate(scoped, set(model.state_dict()), getattr(model, "foreign_keys", ()))


def match(model: nn.Module, checkpoint: Checkpoint) -> tuple[dict[str, Tensor], LoadReport]:
    """Which tensors of a file go where in a model; nothing is changed.

    Returns:
        The fitting tensors by the model's names, and the report without ``replaced`` and ``sha256``.

    Raises:
        WeightsError: two tensors of the file would go to one of the model.
    """
    own = model.state_dict()
    fitting: dict[str, Tensor] = {}
    mismatched: list[Mismatch] = []
    unexpected: list[str] = []
    names = targets_of(model, checkpoint)
    seen: dict[str, str] = {}
    for name, target in names.items():
        if target in seen:
            raise WeightsError(f"{checkpoint.path}: {name!r} and {seen[target]!r} both are the model's {target!r}")
        seen[target] = name
    tensors = {target: checkpoint.tensors[name] for target, name in seen.items()}
    if adapt := getattr(model, "adapt_weights", None):
        tensors = adapt(tensors)
    for target, tensor in tensors.items():
        if target not in own:
            unexpected.append(seen.get(target, target))
        elif tensor.shape != own[target].shape:
            mismatched.append(Mismatch(target, tuple(tensor.shape), tuple(own[target].shape)))
        else:
            fitting[target] = tensor
    missing = tuple(name for name in own if name not in tensors and not name.endswith(_OPTIONAL))
    report = LoadReport(
        str(checkpoint.path), "", checkpoint.origin, tuple(fitting), missing, tuple(unexpected), tuple(mismatched)
    )
    return fitting, report


def fresh_parts(model: nn.Module, report: LoadReport) -> set[str]:
    """The names of those of the model's ``fresh_prefixes`` of which the file has nothing."""
    found = {*report.matched, *(wrong.name for wrong in report.mismatched)}
    fresh = set()
    for prefix in getattr(model, "fresh_prefixes", ()):
        part = {name for name in model.state_dict() if name.startswith(prefix)}
        if not part & found:
            fresh |= part
    return fresh


def foreign_parts(model: nn.Module, checkpoint: Checkpoint, unexpected: tuple[str, ...]) -> set[str]:
    """Those of the unexpected names that belong to a part which the model does not have at all, such as another head.

    The others would belong to a part that it has: ResNet-101's ``layer3.6`` for a ResNet-50, whose other names all fit.
    """
    own = model.state_dict()
    names = translate(list(unexpected), set(own), getattr(model, "foreign_keys", ()))
    parts = {known.removeprefix(_BACKBONE).split(".")[0] for known in own if "." in known.removeprefix(_BACKBONE)}
    parts |= {known.split(".")[0] for known in own if "." in known}
    return {name for name, candidate in names.items() if candidate.removeprefix(_BACKBONE).split(".")[0] not in parts}


def load_weights(
    model: nn.Module,
    source: str | Path,
    *,
    mode: Literal["finetune", "strict"],
    sha256: str | None = None,
    head_rows: Sequence[int] | None = None,
    on_bytes: OnBytes | None = None,
) -> LoadReport:
    """Load weights into a model, or leave it untouched and say why not.

    Args:
        source: safetensors, or a file of ``torch.save`` from torchvision, MMAction2 or ours; a path or ``http(s)://``
            address.
        mode: "strict", for evaluation and prediction, asks for every tensor in its shape and no other. "finetune"
            lets the head (``model.head_prefixes``) differ: where one of its tensors is missing or of another shape
            the whole head keeps its fresh weights, and so do the model's ``fresh_prefixes`` of which the file has
            nothing; parts that the model does not have, such as another head, are left out.
        sha256: what the file's digest must start with, in hex.
        head_rows: for each class, the row of the file's head that it starts from.

    Raises:
        WeightsError: the file cannot be had or read, fits nowhere, or not as ``mode`` asks.
        ValueError: another mode.
    """
    if mode not in ("finetune", "strict"):
        raise ValueError(f"mode ({mode!r}) must be 'finetune' or 'strict'")
    path = fetch(source, sha256=sha256, on_bytes=on_bytes)
    checkpoint = read_checkpoint(path)
    if head_rows is not None:
        checkpoint = take_head_rows(model, checkpoint, targets_of(model, checkpoint), head_rows)
    fitting, found = match(model, checkpoint)
    heads = tuple(getattr(model, "head_prefixes", ("head.",))) if mode == "finetune" else ()
    fresh = fresh_parts(model, found) if mode == "finetune" else set()

    def is_head(name: str) -> bool:
        return name.startswith(heads) or name in fresh

    replaced: tuple[str, ...] = tuple(name for name in model.state_dict() if name in fresh)
    if any(name.startswith(heads) for name in (*found.missing, *(m.name for m in found.mismatched))):
        replaced = tuple(name for name in model.state_dict() if is_head(name))
        fitting = {name: tensor for name, tensor in fitting.items() if not is_head(name)}
    report = LoadReport(
        str(source),
        sha256_of(path),
        found.origin,
        tuple(fitting),
        found.missing,
        found.unexpected,
        found.mismatched,
        replaced,
    )
    _refuse(model, checkpoint, report, mode, is_head)
    own = model.state_dict()
    with torch.no_grad():
        for name, tensor in fitting.items():
            own[name].copy_(tensor)
    return report


def _refuse(
    model: nn.Module, checkpoint: Checkpoint, report: LoadReport, mode: str, is_head: Callable[[str], bool]
) -> None:
    where = report.source
    if not any(not is_head(name) for name in report.matched):
        raise WeightsError(
            f"{where}: none of its {len(checkpoint.tensors)} tensors is one of the model's {len(model.state_dict())} "
            f"outside the head; the file has {_listed(list(checkpoint.tensors))}, "
            f"the model {_listed(list(model.state_dict()))}"
        )
    tolerated = foreign_parts(model, checkpoint, report.unexpected) if mode == "finetune" else set()
    problems = []
    if missing := [name for name in report.missing if not is_head(name)]:
        problems.append(f"{len(missing)} missing: {_listed(missing)}")
    if wrong := [m for m in report.mismatched if not is_head(m.name)]:
        problems.append(f"{len(wrong)} of another shape: {_listed([str(m) for m in wrong])}")
    if unexpected := [name for name in report.unexpected if name not in tolerated]:
        problems.append(f"{len(unexpected)} that the model does not have: {_listed(unexpected)}")
    if problems:
        advice = (
            "use mode = 'finetune' to start a head for other classes"
            if mode == "strict"
            else "name the model that the file was made for"
        )
        raise WeightsError(
            f"{where}: does not fit the model ({len(report.matched)} tensors match); {'; '.join(problems)}. {advice}"
        )
