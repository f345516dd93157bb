"""Turning other projects' files of weights into safetensors with our names."""

import json
import os
import re
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vidflow.errors import ConfigError, StorageError, WeightsError
from vidflow.models.registry import MODELS, Entry, build_model
from vidflow.models.reparameterize import deploy_name, reparameterize
from vidflow.models.weights.checkpoint import Checkpoint, read_checkpoint
from vidflow.models.weights.loading import LoadReport, foreign_parts, fresh_parts, match, translate
from vidflow.models.weights.source import OnBytes, fetch, sha256_of


@dataclass(frozen=True)
class ConvertReport:
    """What was converted."""

    out: str
    format: str
    origin: str
    model: str | None
    """None: a backbone without a head, whose model was not named."""
    candidates: tuple[str, ...]
    """Models whose backbone it fits, where there is no head to tell them apart."""
    options: dict[str, Any]
    """Options of the model that the tensors tell, such as the number of classes."""
    num_tensors: int
    left_out: tuple[str, ...]
    """Tensors of parts that the model does not have, such as a classifier of images."""
    head_missing: bool
    source_sha256: str

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def told_options(entry: Entry, checkpoint: Checkpoint, *, layout: str | None = None) -> dict[str, Any]:
    """Options of a variant that a file's tensors tell, most of them by their shapes.

    Args:
        layout: the name of a skeleton layout, if it is known.

    Raises:
        ConfigError: the tensors leave an option open that must be known, or there is no such layout.
    """
    shapes: dict[str, tuple[str, int]] = getattr(entry.model, "option_shapes", {})
    own = {parameter for parameter, _ in shapes.values()}
    names = translate(list(checkpoint.tensors), own, getattr(entry.model, "foreign_keys", ()))
    found = {target: checkpoint.tensors[name] for name, target in names.items() if target in own}
    known = {field.name for field in fields(entry.config)}
    options: dict[str, Any] = {
        option: found[parameter].shape[axis]
        for option, (parameter, axis) in shapes.items()
        if option in known and parameter in found and found[parameter].ndim > axis
    }
    if told := getattr(entry.model, "tensor_options", None):
        try:
            options |= told({target: checkpoint.tensors[name] for name, target in names.items()}, layout=layout)
        except ValueError as error:
            raise ConfigError(f"{checkpoint.path}: {error}") from error
    return options


def build_for(name: str, checkpoint: Checkpoint, *, layout: str | None = None) -> tuple[nn.Module, dict[str, Any]]:
    """The model of a name, without memory, with the options that a file tells; as ``told_options``."""
    entry = MODELS[name]
    options = told_options(entry, checkpoint, layout=layout)
    with torch.device("meta"):
        return build_model(name, **({"num_classes": entry.config.num_classes} | options)), options


def _problems(model: nn.Module, checkpoint: Checkpoint, report: LoadReport) -> list[str]:
    """Why a file is not one of a model: anything wrong outside the head, or a head in part."""
    heads = tuple(getattr(model, "head_prefixes", ()))
    own_head = [name for name in model.state_dict() if name.startswith(heads)]
    has_head = any(name in report.matched for name in own_head)
    fresh = fresh_parts(model, report)
    problems = [
        f"{name} is missing" for name in report.missing if name not in fresh and (has_head or name not in own_head)
    ]
    problems += [str(wrong) for wrong in report.mismatched]
    foreign = foreign_parts(model, checkpoint, report.unexpected)
    problems += [f"the model has no {name}" for name in report.unexpected if name not in foreign]
    if not any(name not in own_head for name in report.matched):
        problems.insert(0, "no tensor outside the head has a known name")
    return problems


@cache
def _default_model(name: str) -> nn.Module:
    """The model of a name, without memory; building all of them takes seconds, so they are kept."""
    with torch.device("meta"):
        return build_model(name, num_classes=MODELS[name].config.num_classes)


def _has_its_names(name: str, checkpoint: Checkpoint) -> bool:
    """Whether a file's tensors are those of a model, whatever their shapes."""
    model = _default_model(name)
    _, report = match(model, checkpoint)
    return not _problems(model, checkpoint, replace(report, mismatched=()))


def recognise(checkpoint: Checkpoint, *, layout: str | None = None) -> list[str]:
    """The models that a file fits: one for a whole model, perhaps several for a backbone alone.

    Args:
        layout: as for ``told_options``.

    Raises:
        ConfigError: none fits, or the file does not tell which of several.
    """
    if (named := checkpoint.metadata.get("vidflow_model")) in MODELS:
        return [str(named)]
    fitting: dict[str, bool] = {}
    exact: set[str] = set()
    stored = {id(tensor) for tensor in checkpoint.tensors.values()}
    for name in MODELS:
        if not _has_its_names(name, checkpoint):
            continue
        model, _ = build_for(name, checkpoint, layout=layout)
        tensors, report = match(model, checkpoint)
        if not _problems(model, checkpoint, report):
            if all(id(tensor) in stored for tensor in tensors.values()) and not fresh_parts(model, report):
                exact.add(name)
            fitting[name] = any(
                missing.startswith(tuple(getattr(model, "head_prefixes", ()))) for missing in report.missing
            )
    if exact:
        # What had to be fitted, such as positions of another size, or lacks a part, was made for another model.
        fitting = {name: head_is_missing for name, head_is_missing in fitting.items() if name in exact}
    if not fitting:
        raise ConfigError(f"{checkpoint.path}: fits none of the models; give --model to see what differs")
    if all(fitting.values()):
        return list(fitting)
    told = {name: getattr(MODELS[name].model, "foreign_config_mark", "") for name in fitting}
    if by_config := [name for name in fitting if told[name] and re.search(told[name], checkpoint.config)]:
        return by_config
    # Without a word of them in the file's config, it is one of the others.
    fitting = {name: head_is_missing for name, head_is_missing in fitting.items() if not told[name]} or fitting
    marks = {name: getattr(MODELS[name].model, "foreign_mark", "") for name in fitting}
    marked = [
        name for name in fitting if marks[name] and any(re.fullmatch(marks[name], key) for key in checkpoint.tensors)
    ]
    candidates = marked or [name for name in fitting if not marks[name]]
    if len(candidates) != 1 or (not marked and len(fitting) > 1 and checkpoint.origin not in ("mmaction2", "tsm")):
        raise ConfigError(f"{checkpoint.path}: could be {' or '.join(fitting)}; give --model")
    return candidates


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file whose bytes follow from its content alone (the library writes metadata in random
    order)."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(ordered) <= size, "the header must not grow over the tensors"
        file.seek(8)
        file.write(ordered.ljust(size))  # the format pads headers with spaces


def _deployed(
    name: str, tensors: dict[str, Tensor], report: LoadReport, options: dict[str, Any]
) -> tuple[dict[str, Tensor], str]:
    """A model's tensors with their branches joined, and the name of the model that they are now.

    A head that is missing stays missing.
    """
    other = deploy_name(name)
    model = build_model(name, **({"num_classes": MODELS[name].config.num_classes} | options))
    model.load_state_dict(tensors, strict=False)  # ``report`` says that only the head may lack
    reparameterize(model)
    return {key: value for key, value in model.state_dict().items() if key not in report.missing}, other


def convert(
    source: str | Path,
    out: Path,
    *,
    model: str | None = None,
    deploy: bool = False,
    layout: str | None = None,
    on_bytes: OnBytes | None = None,
) -> ConvertReport:
    """Write a file's tensors as safetensors with our names; the file appears whole or not at all.

    Metadata: ``vidflow_model``, ``num_classes`` and ``vidflow_options`` (JSON), where they are known, ``source`` (its
    file name), ``source_sha256`` and ``origin``.

    Args:
        source: path or ``http(s)://`` address, as for ``load_weights``.
        model: name of the model; by default the one that fits.
        deploy: join the branches of training (``vidflow.models.reparameterize``); the file is the deployed model's.
        layout: name of the skeleton layout, for a file that fits several.

    Raises:
        WeightsError: the file cannot be read, or is none of the model's.
        ConfigError: no such model or layout, none fits, or a layout for a model that takes no skeletons.
        StorageError: the output cannot be written.
    """
    path = fetch(source, on_bytes=on_bytes)
    if out.suffix != ".safetensors":
        raise ConfigError(f"{out}: the output's name must end in .safetensors")
    if out.exists() and out.samefile(path):
        raise ConfigError(f"{out}: is the input; give another name")
    checkpoint = read_checkpoint(path)
    candidates = [model] if model else recognise(checkpoint, layout=layout)
    built, options = build_for(candidates[0], checkpoint, layout=layout)
    if layout is not None and "layout" not in options:
        raise ConfigError(f"{path}: {candidates[0]} takes no skeletons; leave out --layout {layout}")
    fitting, report = match(built, checkpoint)
    if problems := _problems(built, checkpoint, report):
        more = f" and {len(problems) - 6} more" if len(problems) > 6 else ""
        raise WeightsError(f"{path}: is no {candidates[0]}: {'; '.join(problems[:6])}{more}")
    head_missing = "num_classes" not in options and bool(report.missing)
    name = model or (None if head_missing else candidates[0])
    if deploy:
        fitting, name = _deployed(candidates[0], fitting, report, options)
    digest = sha256_of(path)
    metadata = {"format": "pt", "origin": checkpoint.origin, "source": path.name, "source_sha256": digest}
    if name:
        metadata |= {"vidflow_model": name, "vidflow_options": json.dumps(options, sort_keys=True)}
    if "num_classes" in options:
        metadata["num_classes"] = str(options["num_classes"])
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_safetensors(part, fitting, metadata)
        part.replace(out)
    except OSError as error:
        raise StorageError(f"{out}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return ConvertReport(
        out=str(out),
        format=checkpoint.format,
        origin=checkpoint.origin,
        model=name,
        candidates=tuple(candidates) if name is None else (),
        options=options,
        num_tensors=len(fitting),
        left_out=report.unexpected,
        head_missing=head_missing,
        source_sha256=digest,
    )
