"""``vidflow predict``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from vidflow.inference import FilePrediction
    from vidflow.inference.trained import TrainedModel
    from vidflow.shards.pose.extracting import PoseOptions


def predict(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files and folders: what the model reads, see below.")
    ],
    run: Annotated[Path | None, typer.Option("--run", help="Folder of a run, such as runs/tsm.")] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            help="With --run: best, last, or the path of a weights file or checkpoint folder.",
            show_default="best",
        ),
    ] = None,
    cfg: Annotated[
        str | None, typer.Option("--cfg", help="In place of a run: a config, by path or by name; needs --weights.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="With --cfg: path or address of a weights file.")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option("--classes", help="With --cfg: file with one class name per line.")
    ] = None,
    top: Annotated[int, typer.Option("--top", help="Classes to show for each file.")] = 5,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", help="Samples that go through the model together.", show_default="by size"),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda or cuda:1.", show_default="the GPU where there is one")
    ] = None,
    on_damage: Annotated[
        Literal["error", "conceal"],
        typer.Option("--on-damage", help="error: no prediction for damaged files. conceal: from what is left."),
    ] = "error",
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="A class to tell by its name; repeatable. For ActionCLIP, without training."),
    ] = None,
    pose: Annotated[bool, typer.Option("--pose", help="Find skeletons in videos, for models that read them.")] = False,
    estimator: Annotated[
        str | None,
        typer.Option(
            "--estimator",
            help="With --pose: mediapipe, or an import path: my_pkg.pose:MyEstimator.",
            show_default="mediapipe",
        ),
    ] = None,
    pose_model: Annotated[
        Path | None, typer.Option("--pose-model", help="With --pose: model file of the estimator.")
    ] = None,
    max_people: Annotated[
        int | None, typer.Option("--max-people", help="With --pose: most people in a video.", show_default="2")
    ] = None,
    draw: Annotated[
        Path | None,
        typer.Option("--draw", metavar="OUT", help="Draw skeletons and class: an .mp4 file, or a folder for many."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override one key of the config; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Name the likeliest classes of files, with their scores.

    A model of clips reads videos; one of skeletons reads .skeleton, .npz, .npy, .txt, .json and .pkl files, and videos
    with --pose; one of frames and skeletons reads videos with --pose; one of sound reads .wav, .flac, .mp3 and the
    sound of videos. A file that cannot be used is reported and stops no other; the exit status is then 3.
    """
    from dataclasses import asdict

    from vidflow.cli.console import print_error, print_json, print_line, progress
    from vidflow.errors import ConfigError, DataError

    for option, value in (("--top", top), ("--batch-size", batch_size)):
        if value is not None and value < 1:
            raise ConfigError(f"{option} {value}: must be at least 1")
    pose_options = _pose_options(pose, estimator, pose_model, max_people, on_damage)
    trained = _trained(run, checkpoint, cfg, weights, classes, set_ or [])
    from vidflow.inference import Predictor
    from vidflow.inference.drawing import Drawing

    predictor = Predictor(trained, device=device, on_damage=on_damage, labels=label or (), pose=pose_options)
    samples = predictor.files.samples_of(paths)
    drawing = None if draw is None else Drawing(draw, samples, predictor.pipeline, given=map(Path, paths))
    found: list[FilePrediction] = []
    num_undrawn = 0
    with progress("predict", len(samples), unit="files", quiet=len(samples) < 2) as bar:
        for prediction, opened in predictor.outcomes(samples, top=top, batch_size=batch_size):
            if drawing is not None and opened is not None:
                try:
                    drawing.draw(len(found), prediction, opened)
                except DataError as error:
                    print_error(f"not drawn: {error}")
                    num_undrawn += 1
            found.append(prediction)
            if prediction.error is not None:
                print_error(prediction.error)
            elif not as_json:
                print_line(_as_text(prediction))
            bar.advance(bar.task_ids[0])
    failed = sum(prediction.error is not None for prediction in found)
    if as_json:
        about = {"run": None if run is None else str(run), "weights": predictor.weights, "num_failed": failed}
        print_json(about | {"files": [asdict(prediction) for prediction in found]})
    if failed or num_undrawn:
        raise typer.Exit(DataError.exit_status)


def _trained(
    run: Path | None,
    checkpoint: str | None,
    cfg: str | None,
    weights: str | None,
    classes: Path | None,
    overrides: list[str],
) -> "TrainedModel":
    from vidflow.errors import ConfigError

    with_cfg = {"--weights": weights, "--classes": classes}
    if (run is None) == (cfg is None):
        raise ConfigError("give --run FOLDER, or else --cfg CONFIG with --weights FILE")
    if run is not None and (idle := [name for name, value in with_cfg.items() if value is not None]):
        raise ConfigError(f"{', '.join(idle)}: belongs to --cfg; with --run there is --checkpoint")
    if cfg is not None and checkpoint is not None:
        raise ConfigError("--checkpoint: belongs to --run; with --cfg there is --weights")
    if cfg is not None and weights is None:
        raise ConfigError(f"--cfg {cfg}: give --weights FILE too")
    from vidflow.inference.trained import model_of_config, model_of_run

    if run is not None:
        return model_of_run(run, checkpoint=checkpoint or "best", overrides=overrides)
    assert cfg is not None
    assert weights is not None
    return model_of_config(cfg, weights, classes=classes, overrides=overrides)


def _pose_options(
    pose: bool,
    estimator: str | None,
    model: Path | None,
    max_people: int | None,
    on_damage: Literal["error", "conceal"],
) -> "PoseOptions | None":
    from vidflow.errors import ConfigError

    if not pose:
        given = {"--estimator": estimator, "--pose-model": model, "--max-people": max_people}
        if idle := [name for name, value in given.items() if value is not None]:
            raise ConfigError(f"{', '.join(idle)}: has no effect without --pose")
        return None
    from vidflow.shards.pose.extracting import PoseOptions

    return PoseOptions(
        estimator=estimator or "mediapipe",
        model=None if model is None else str(model),
        max_people=2 if max_people is None else max_people,
        on_damage=on_damage,
    )


def _as_text(prediction: "FilePrediction") -> str:
    lines = [prediction.path]
    lines += [f"  {score.score:.4f}  {score.name}" for score in prediction.top]
    return "\n".join(lines)
