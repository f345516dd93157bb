"""The table of models, and building one by its name."""

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import nn

from vidflow.errors import ConfigError


@dataclass(frozen=True)
class Entry:
    """One variant of a family."""

    config: Any
    """Frozen dataclass with at least ``num_classes`` and ``multi_label``; its fields are the variant's options."""
    model: Callable[[Any], nn.Module]
    """Builds the model from a config."""


class Registry:
    """Name -> variant. A name can be given once only."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def add(self, name: str, config: Any, model: Callable[[Any], nn.Module]) -> None:
        """Enter a variant.

        Raises:
            ValueError: the name is taken, or holds a colon, which marks import paths.
        """
        if name in self._entries:
            raise ValueError(f"there is a model {name!r} already ({self._entries[name].model})")
        if ":" in name:
            raise ValueError(f"model name {name!r} must not hold a colon")
        self._entries[name] = Entry(config, model)

    def __getitem__(self, name: str) -> Entry:
        """The variant of a name.

        Raises:
            ConfigError: there is none; the message has the nearest name.
        """
        if name not in self._entries:
            raise ConfigError(f"no model {name!r}. {suggest(name, self._entries)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


MODELS = Registry()


def suggest(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known name, or all of them where none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(known)}"


def build_model(
    name: str, *, num_classes: int, multi_label: bool = False, data_classes: Sequence[str] = (), **options: Any
) -> nn.Module:
    """A model with freshly drawn weights.

    >>> build_model("tsm-tiny", num_classes=6, dropout=0.2).num_classes
    6

    Args:
        name: a name of ``MODELS``; ``timm:`` and an image model of timm, such as ``"timm:convnext_tiny"``, for TSN over
            it; or the import path of a callable such as ``"my_pkg.models:MyNet"``, which is called with all the other
            arguments.
        num_classes: K.
        multi_label: a sample may have any number of classes.
        data_classes: names of the data set's classes; what models with an option ``class_names`` take by default.
        options: further fields of the variant's config.

    Raises:
        ConfigError: no such model or option, or a value that does not fit.
    """
    if name.startswith("timm:"):
        name, options = "vidflow.models.timm_recognizer:timm_tsn", {"timm_name": name.removeprefix("timm:"), **options}
    if ":" in name:
        return _build_imported(name, {"num_classes": num_classes, "multi_label": multi_label, **options})
    entry = MODELS[name]
    known = [field.name for field in fields(entry.config)]
    for option in options:
        if option not in known:
            raise ConfigError(f"model {name!r} has no option {option!r}. {suggest(option, known)}")
    if data_classes and "class_names" in known:
        options = {"class_names": tuple(data_classes)} | options
    try:
        config = replace(entry.config, num_classes=num_classes, multi_label=multi_label, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model {name!r}: {error}") from error
    return entry.model(config)


def _build_imported(path: str, options: dict[str, Any]) -> nn.Module:
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"model {path!r}: cannot import {module_name!r} ({error})") from error
    build = getattr(module, attribute, None)
    if not callable(build):
        raise ConfigError(f"model {path!r}: {module_name} has no class or function {attribute!r}")
    try:
        inspect.signature(build).bind(**options)
    except TypeError as error:
        raise ConfigError(f"model {path!r}: {error}; it is called with {', '.join(options)}") from error
    model = build(**options)
    if not isinstance(model, nn.Module):
        raise ConfigError(f"model {path!r}: gives a {type(model).__name__}, not a torch.nn.Module")
    return model
