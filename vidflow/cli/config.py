"""``vidflow config``."""

from typing import Annotated

import typer

from vidflow.cli.console import out, print_json


def config(
    file: Annotated[
        str | None,
        typer.Argument(help="Path of a TOML file, or the name of one that comes with vidflow.", show_default=False),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override one key, such as optim.lr=0.01; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of TOML.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of configs, for editors, and leave.")
    ] = False,
) -> None:
    """Print a whole config: what it inherits, overrides and defaults included."""
    from vidflow.config.experiment import Experiment
    from vidflow.config.loading import load_config, to_toml
    from vidflow.errors import ConfigError

    if schema:
        print_json(Experiment.model_json_schema())
        return
    if file is None:
        raise ConfigError("vidflow config: name a file, such as `vidflow config tsm.toml`, or ask for the --schema")
    loaded = load_config(file, set_ or [])
    if as_json:
        print_json(loaded.model_dump(mode="json"))
    else:
        out.file.write(to_toml(loaded))
