"""``vidflow``: finds the subcommand's module when it is called, and prints the user's errors as one line."""

import importlib
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from vidflow.cli.console import print_error, tolerate_odd_names
from vidflow.errors import VidflowError
from vidflow.version import __version__

# Subcommand -> function in vidflow.cli.<module>; the order is the order of a user's work.
COMMANDS: dict[str, str] = {
    "demo-data": "demo_data:demo_data",
    "recipes": "recipes:recipes",
    "shard": "shard:shard",
    "merge": "merge:merge",
    "index": "index:index",
    "inspect": "inspect:inspect",
    "verify": "verify:verify",
    "select": "select:select",
    "split": "split:split",
    "relabel": "relabel:relabel",
    "repack": "repack:repack",
    "unpack": "unpack:unpack",
    "config": "config:config",
    "train": "train:train",
    "test": "test:run_test",
    "predict": "predict:predict",
    "convert": "convert:convert",
    "bench": "bench:bench",
}


class _LazyGroup(TyperGroup):
    """Imports a subcommand's module only when it is asked for.

    The types are click's, which typer takes from click itself or from a copy of its own, depending on its version.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name].partition(":")
        app = typer.Typer(add_completion=False)
        app.command(name=cmd_name)(getattr(importlib.import_module(f"vidflow.cli.{module}"), function))
        return typer.main.get_command(app)


app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Video understanding, data pipeline first.",
)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main(args: list[str] | None = None) -> None:
    """Run the command line and leave with the error's own exit status.

    Args:
        args: words after the program's name; None takes those of this process.
    """
    tolerate_odd_names()
    try:
        app(args=args, prog_name="vidflow")
    except VidflowError as error:
        print_error(str(error))
        sys.exit(error.exit_status)
