"""``vidflow predict``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from vidflow.inference import FilePrediction


def predict(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Video files, and folders of them.")],
    run: Annotated[Path, typer.Option("--run", help="Folder of a run, such as runs/tsm.")],
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", help="best, last, or the path of a weights file or checkpoint folder.")
    ] = "best",
    top: Annotated[int, typer.Option("--top", help="Classes to show for each file.")] = 5,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", help="Files that go through the model together.", show_default="by size"),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda or cuda:1.", show_default="the GPU where there is one")
    ] = None,
    on_damage: Annotated[
        Literal["error", "conceal"],
        typer.Option("--on-damage", help="error: no prediction for damaged videos. conceal: from what decodes."),
    ] = "error",
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="A class to tell by its name; repeatable. For ActionCLIP, without training."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override one key of the run's config; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Name the likeliest classes of video files, with their scores.

    A file that cannot be used is reported and stops no other; the exit status is then 3.
    """
    from dataclasses import asdict

    from vidflow.cli.console import print_error, print_json, print_line, progress
    from vidflow.errors import ConfigError, DataError

    for option, value in (("--top", top), ("--batch-size", batch_size)):
        if value is not None and value < 1:
            raise ConfigError(f"{option} {value}: must be at least 1")
    from vidflow.inference import Predictor
    from vidflow.inference.files import list_videos

    files = list_videos(paths)
    predictor = Predictor(
        run, checkpoint=checkpoint, overrides=set_ or [], device=device, on_damage=on_damage, labels=label or ()
    )
    found: list[FilePrediction] = []
    with progress("predict", len(files), unit="files", quiet=len(files) < 2) as bar:
        for prediction in predictor.iterate(files, top=top, batch_size=batch_size):
            found.append(prediction)
            if prediction.error is not None:
                print_error(prediction.error)
            elif not as_json:
                print_line(_as_text(prediction))
            bar.advance(bar.task_ids[0])
    failed = sum(prediction.error is not None for prediction in found)
    if as_json:
        about = {"run": str(run), "weights": str(predictor.weights), "num_failed": failed}
        print_json(about | {"files": [asdict(prediction) for prediction in found]})
    if failed:
        raise typer.Exit(DataError.exit_status)


def _as_text(prediction: "FilePrediction") -> str:
    lines = [prediction.path]
    lines += [f"  {score.score:.4f}  {score.name}" for score in prediction.top]
    return "\n".join(lines)
