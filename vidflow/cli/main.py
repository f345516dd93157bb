"""``vidflow``: finds the subcommand's module when it is called, and prints the user's errors as one line."""

import sys

import typer

from vidflow.cli.console import print_error, tolerate_odd_names
from vidflow.cli.lazy_group import lazy_group
from vidflow.errors import VidflowError
from vidflow.version import __version__

# Subcommand -> function or group in vidflow.cli.<module>; the order is the order of a user's work.
COMMANDS: dict[str, str] = {
    "demo-data": "demo_data:demo_data",
    "recipes": "recipes:recipes",
    "check": "check:check",
    "resize": "resize:resize",
    "extract": "extract:app",
    "cut": "cut:cut",
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
    "zoo": "zoo:zoo",
    "flops": "flops:flops",
    "config": "config:config",
    "train": "train:train",
    "test": "test:run_test",
    "fuse": "fuse:app",
    "predict": "predict:predict",
    "convert": "convert:convert",
    "export": "export:export",
    "bench": "bench:bench",
}


app = typer.Typer(
    cls=lazy_group(COMMANDS),
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
