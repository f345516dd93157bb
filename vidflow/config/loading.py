"""From a TOML file, what it inherits and the overrides, to a validated ``Experiment``; and back to TOML."""

import difflib
import importlib.resources
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import tomli_w
from pydantic import BaseModel, ValidationError

from vidflow.config.experiment import Experiment
from vidflow.config.merge import Origins, merge, parse_override
from vidflow.config.problems import describe, kind_of, models_in
from vidflow.errors import ConfigError

NONE = "none"
"""How a TOML file, which has no null, says None where a setting admits it: ``short_side = "none"``."""


def shipped_folder() -> Path:
    """The folder of the configs that come with vidflow."""
    return Path(str(importlib.resources.files("vidflow.experiments")))


def find_config(name: str) -> Path:
    """A config by path, or by file name among those that come with vidflow (the ending may be left out).

    Raises:
        ConfigError: neither exists, or the name fits several.
    """
    for candidate in (Path(name), Path(f"{name}.toml")):
        if candidate.is_file():
            return candidate
    # Files in a folder base/ are parts of others.
    shipped = sorted(path for path in shipped_folder().rglob("*.toml") if path.parent.name != "base")
    base = Path(name).name.removesuffix(".toml") + ".toml"
    found = [path for path in shipped if path.name == base] if Path(name).parent == Path() else []
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"config {name!r} fits {', '.join(map(str, found))}; give the path")
    near = difflib.get_close_matches(base, [path.name for path in shipped], n=1)
    hint = (
        f"Did you mean {near[0]!r}?"
        if near
        else f"Those that come with vidflow are {', '.join(path.name for path in shipped)}."
    )
    raise ConfigError(f"no config {name!r}, neither as a path nor among vidflow's own. {hint}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def _inherit(path: Path, origins: Origins, chain: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The tables of a file over those of its bases, later bases over earlier ones."""
    real = path.resolve()
    if real in chain:
        cycle = " -> ".join(p.name for p in (*chain[chain.index(real) :], real))
        raise ConfigError(f"{path}: base goes round in a circle: {cycle}")
    values = _read(path)
    bases = values.pop("base", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f'{path}: base = {bases!r}: must be a list of files, such as ["base.toml"]')
    result: dict[str, Any] = {}
    for base in bases:
        base_path = path.parent / base
        if not base_path.is_file():
            raise ConfigError(
                f"{path}: base {base!r} does not exist ({base_path}); bases are looked up beside their file"
            )
        base_origins: Origins = {}
        result = merge(result, _inherit(base_path, base_origins, (*chain, real)), {}, "")
        origins |= base_origins
    return merge(result, values, origins, str(path))


def _admit_none(model: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    """The tables with "none" turned into None where the model admits None and no such word."""
    result = dict(values)
    for name, field in model.model_fields.items():
        if name not in result:
            continue
        value = result[name]
        if value == NONE and NoneType in get_args(field.annotation):
            result[name] = None
        elif isinstance(value, dict):
            options = models_in(field.annotation)
            # Without a kind it is that of the first one: pipelines are of clips.
            kind = value.get("kind", kind_of(options[0]) if options else None)
            chosen = next((option for option in options if kind_of(option) == kind), None)
            if chosen or len(options) == 1:
                result[name] = _admit_none(chosen or options[0], value)
        elif isinstance(value, list) and len(options := models_in(field.annotation)) == 1:
            result[name] = [_admit_none(options[0], item) if isinstance(item, dict) else item for item in value]
    return result


def load_config(name: str, overrides: Sequence[str] = ()) -> Experiment:
    """Read, inherit, override, validate.

    Args:
        name: path, or name of a config that comes with vidflow.
        overrides: ``section.key=value`` each, applied in order.

    Raises:
        ConfigError: listing everything that is wrong, a line each.
    """
    path = find_config(name)
    origins: Origins = {}
    values = _inherit(path, origins)
    for text in overrides:
        values = merge(values, parse_override(text), origins, f"--set {text}")
    values.setdefault("name", path.stem)
    return validate(values, origins, str(path))


def validate(values: dict[str, Any], origins: Origins, source: str) -> Experiment:
    """Tables as an ``Experiment``.

    Raises:
        ConfigError: listing everything that is wrong, a line each.
    """
    try:
        return Experiment.model_validate(_admit_none(Experiment, values))
    except ValidationError as error:
        raise ConfigError("\n".join(describe(error, Experiment, origins, source))) from error


def to_tables(config: BaseModel) -> dict[str, Any]:
    """The whole config as plain TOML values, defaults written out. Settings that are None by default are left out."""
    tables: dict[str, Any] = {}
    dumped = config.model_dump(mode="json")
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            tables[name] = to_tables(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            tables[name] = [to_tables(item) for item in value]
        elif value is not None:
            tables[name] = dumped[name]
        elif field.default is not None:
            tables[name] = NONE
    return tables


def to_toml(config: Experiment) -> str:
    """The whole config as TOML text, which ``load_config`` reads back to the same config."""
    return tomli_w.dumps(to_tables(config))
