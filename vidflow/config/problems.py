"""pydantic's complaints as the lines that people read: file, section, key, value, and the nearest known key."""

import difflib
import types
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from vidflow.config.merge import Origins, source_of


def models_in(annotation: object) -> list[type[BaseModel]]:
    """The model classes in an annotation: of a union all, of a list those of its items, else one or none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (tuple, list):
        return models_in(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        return [model for option in typing.get_args(annotation) for model in models_in(option)]
    return []


def kind_of(model: type[BaseModel]) -> str | None:
    """The value of ``kind`` that names a model in a union."""
    field = model.model_fields.get("kind")
    return str(field.default) if field is not None else None


def _walk(model: type[BaseModel], location: tuple[Any, ...]) -> tuple[tuple[str, ...], type[BaseModel] | None]:
    """A pydantic location as TOML keys (without the names of union members), and the model that holds the last one."""
    path: list[str] = []
    holder: type[BaseModel] | None = model
    options: list[type[BaseModel]] = []
    for part in location:
        if isinstance(part, int):  # a place in a list
            path.append(str(part))
            continue
        if options and len(options) > 1:
            holder = next((option for option in options if kind_of(option) == part), None)
            options = []
            if holder is not None:
                continue
        elif options:
            holder, options = options[0], []
        path.append(str(part))
        field = holder.model_fields.get(str(part)) if holder is not None else None
        options = models_in(field.annotation) if field is not None else []
        if field is None or not options:
            # Inside lists and free tables there are no further models.
            holder = holder if part == location[-1] else None
    return tuple(path), holder


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def describe(error: ValidationError, model: type[BaseModel], origins: Origins, default: str) -> list[str]:
    """One line per problem.

    Args:
        model: the class that was validated.
        origins: what ``merge`` recorded.
        default: the file to name where nothing else is known.
    """
    lines = []
    for problem in error.errors():
        path, holder = _walk(model, problem["loc"])
        source = source_of(path, origins, default)
        section, key = ".".join(path[:-1]), path[-1] if path else ""
        where = f"{source}: [{section}]" if section else f"{source}:"
        match problem["type"]:
            case "extra_forbidden":
                line = f"{where} has no key {key!r}." if section else f"{where} no key {key!r}."
                near = difflib.get_close_matches(key, holder.model_fields if holder else [], n=1)
                if near:
                    line += f" Did you mean {near[0]!r}?"
                elif holder:
                    line += f" Its keys are {', '.join(holder.model_fields)}."
            case "missing":
                line = f"{default}: [{section}] needs {key}" if section else f"{default}: needs {key}"
            case "union_tag_not_found":
                line = f"{source}: [{'.'.join(path)}] needs kind, one of {_tags(model, path)}"
            case "union_tag_invalid":
                tags = problem["ctx"]["expected_tags"]
                line = f"{source}: [{'.'.join(path)}] kind = {problem['ctx']['tag']!r}: must be one of {tags}"
                near = difflib.get_close_matches(
                    str(problem["ctx"]["tag"]), [t.strip(" '") for t in tags.split(",")], n=1
                )
                line += f". Did you mean {near[0]!r}?" if near else ""
            case "value_error" if isinstance(problem["input"], dict):
                message = problem["msg"].removeprefix("Value error, ")
                line = f"{source}: [{'.'.join(path)}]: {message}" if path else f"{source}: {message}"
            case _:
                message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
                line = f"{where} {key} = {_shown(problem['input'])}: {message[:1].lower() + message[1:]}"
        lines.append(line)
    return lines


def _tags(model: type[BaseModel], path: tuple[str, ...]) -> str:
    """The kinds that the union at a path offers."""
    options = [model]
    for part in path:
        holder = options[0]
        field = holder.model_fields.get(part)
        options = models_in(field.annotation) if field is not None else [holder]
    return ", ".join(str(kind_of(option)) for option in options)
