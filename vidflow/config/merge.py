"""Deep merging of TOML tables, remembering where each value came from."""

import tomllib
from collections.abc import Iterable
from typing import Any

from vidflow.errors import ConfigError

Path = tuple[str, ...]
Origins = dict[Path, str]
"""Path of a value -> the file or override that set it."""


class Replace(dict[str, Any]):
    """A table that takes the place of the one below it, instead of being merged into it."""


def merge(
    below: dict[str, Any], above: dict[str, Any], origins: Origins, source: str, path: Path = ()
) -> dict[str, Any]:
    """The table ``above`` laid over ``below``; ``origins`` is updated in place.

    A table with another ``kind`` replaces the one below whole, and one with another ``name`` drops the ``options``
    below, because the keys of the one mean nothing to the other.

    >>> merge({"crop": {"kind": "random", "a": 1}, "size": 2}, {"crop": {"kind": "center"}}, {}, "x.toml")
    {'crop': {'kind': 'center'}, 'size': 2}
    """
    result = dict(below)
    if "name" in above and "name" in below and above["name"] != below["name"]:
        result.pop("options", None)
    for key, value in above.items():
        here = (*path, key)
        old = result.get(key)
        if isinstance(value, dict) and not isinstance(value, Replace):
            fresh = not isinstance(old, dict) or ("kind" in value and value["kind"] != old.get("kind"))
            result[key] = merge({} if fresh else old, value, origins, source, here)  # type: ignore[arg-type]
        else:
            result[key] = value if not isinstance(value, Replace) else dict(value)
        origins[here] = source
    return result


def parse_override(text: str) -> dict[str, Any]:
    """``a.b=value`` as nested tables; the value in TOML syntax, or a bare string.

    >>> parse_override("optim.lr=0.01"), parse_override("model.name=tsm-r50")
    ({'optim': {'lr': 0.01}}, {'model': {'name': 'tsm-r50'}})

    Raises:
        ConfigError: no ``=``, a key that TOML does not take, or a value that starts like TOML and is none.
    """
    key, separator, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not separator or not key:
        raise ConfigError(f"--set {text}: write it as section.key=value, such as optim.lr=0.01")
    try:
        tables = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"--set {text}: {key!r} is no key ({error}); write it as section.key=value") from error
    try:
        parsed = tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError as error:
        if value[:1] in ("[", "{", '"', "'"):
            raise ConfigError(f"--set {text}: the value is not valid TOML ({error})") from error
        parsed = value
    table = tables
    while isinstance(inner := next(iter(table.values())), dict):
        table = inner
    table[next(iter(table))] = Replace(parsed) if isinstance(parsed, dict) else parsed
    return tables


def source_of(path: Iterable[str], origins: Origins, default: str) -> str:
    """Where the value at a path was set: by itself, or with the nearest table around it."""
    parts = tuple(path)
    for end in range(len(parts), 0, -1):
        if parts[:end] in origins:
            return origins[parts[:end]]
    return default
