"""``vidflow train``."""

import os
from pathlib import Path
from typing import Annotated

import typer

from vidflow.errors import NonFiniteLossError


def train(
    cfg: Annotated[str, typer.Option("--cfg", help="Path of a TOML file, or the name of one that comes with vidflow.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override one key, such as optim.lr=0.01; repeatable."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run's last checkpoint; a run that has none starts.")
    ] = False,
    resume_from: Annotated[
        Path | None, typer.Option("--resume-from", help="Go on with this checkpoint folder, checkpoints/step-N.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Delete what an earlier run of this name has written.")
    ] = False,
) -> None:
    """Train a model, validate it after each epoch, and write runs/NAME.

    For several processes: accelerate launch experiments/train.py, with the same options.
    """
    from vidflow.config.loading import load_config
    from vidflow.engine.signals import StoppedError
    from vidflow.engine.train import train as run_training

    try:
        run_training(load_config(cfg, set_ or []), resume=resume_from or resume, overwrite=overwrite)
    except (StoppedError, NonFiniteLossError) as error:
        # All processes of a run end with these together; the first one tells.
        if os.environ.get("RANK", "0") != "0":
            raise SystemExit(error.exit_status) from error
        raise
