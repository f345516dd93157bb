"""Types of fields that several pipelines have."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from vidflow.skeletons.layouts import find_layout


def _square(value: object) -> object:
    return (value, value) if isinstance(value, int) else value


def _known(value: str | dict[str, Any]) -> str | dict[str, Any]:
    find_layout(value)
    return value


Size = Annotated[tuple[int, int], BeforeValidator(_square)]
"""Height and width in pixels; one number is a square."""
LayoutName = Annotated[str | dict[str, Any], AfterValidator(_known)]
"""A skeleton graph by its name, or as a table; see ``vidflow.skeletons.layouts``."""
