"""``vidflow``: finds the subcommand's module when it is called, and prints the user's errors as one line."""

import importlib
import sys

import click
import typer
from typer.core import TyperGroup

from vidflow.cli.console import errors
from vidflow.errors import VidflowError
from vidflow.version import __version__

# Subcommand -> function in vidflow.cli.<module>; the order is the order of a user's work.
COMMANDS: dict[str, str] = {}


class _LazyGroup(TyperGroup):
    """Imports a subcommand's module only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name].partition(":")
        app = typer.Typer(add_completion=False)
        app.command(name=cmd_name)(getattr(importlib.import_module(f"vidflow.cli.{module}"), function))
        return typer.main.get_command(app)


app = typer.Typer(cls=_LazyGroup, no_args_is_help=True, add_completion=False, help="Video understanding, data pipeline first.")


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line and leave with the error's own exit status."""
    try:
        app(prog_name="vidflow")
    except VidflowError as error:
        errors.print(f"[bold red]error:[/] {error}", markup=True, highlight=False, soft_wrap=True)
        sys.exit(error.exit_status)
