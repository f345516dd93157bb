"""A group of subcommands whose modules are imported when they are called."""

import importlib
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperGroup


def lazy_group(commands: Mapping[str, str]) -> type[TyperGroup]:
    """The class of a group, for ``typer.Typer(cls=...)``.

    The types are click's, which typer takes from click itself or from a copy of its own, depending on its version.

    Args:
        commands: subcommand -> ``module:name`` in vidflow.cli, a function or a group (``typer.Typer``) of its own. The
            order is that of the help.
    """

    class LazyGroup(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return list(commands)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if cmd_name not in commands:
                return None
            module, _, name = commands[cmd_name].partition(":")
            found = getattr(importlib.import_module(f"vidflow.cli.{module}"), name)
            if not isinstance(found, typer.Typer):
                app = typer.Typer(add_completion=False)
                app.command(name=cmd_name)(found)
                found = app
            return typer.main.get_command(found)

    return LazyGroup
