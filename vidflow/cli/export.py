"""``vidflow export``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from torch import nn

    from vidflow.config.experiment import Experiment
    from vidflow.models.export import Format


def parse_shape(text: str) -> tuple[int, ...]:
    """The sizes in ``3x8x224x224``.

    Raises:
        ConfigError: something else than whole positive numbers.
    """
    from vidflow.errors import ConfigError

    sizes = text.lower().split("x")
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise ConfigError(f"--shape {text}: give the sizes of one view, such as 3x8x224x224 (channels, frames, pixels)")
    return tuple(map(int, sizes))


def input_shapes(model: "nn.Module", config: "Experiment", shape: str | None) -> dict[str, tuple[int, ...]]:
    """Name of each of the model's inputs -> its shape for one view of a sample.

    Raises:
        ConfigError: the config does not tell it.
    """
    from vidflow.cli.flops import input_shape
    from vidflow.models.recognizer import Recognizer

    view = input_shape(model, config.data.test_pipeline) if shape is None else parse_shape(shape)
    return model.input_shapes(view) if isinstance(model, Recognizer) else {"clips": view}


def load_source(
    source: str, weights: str | None, overrides: list[str], *, untrained: bool
) -> tuple["nn.Module", "Experiment", tuple[str, ...], str]:
    """The model of a run or of a config with its weights; its config, its classes where they have names, and the file
    of the weights.

    Raises:
        ConfigError: neither a run nor a config, or a config without weights.
        WeightsError: no such weights, or weights that do not fit.
    """
    from vidflow.config.loading import load_config
    from vidflow.engine.checkpoint import load_exactly
    from vidflow.engine.runs import RunFolder
    from vidflow.errors import ConfigError
    from vidflow.models import build_model
    from vidflow.models.weights import load_weights

    if Path(source).is_dir():
        run = RunFolder(Path(source))
        config, classes, path = run.config(overrides), run.classes(), run.weights(weights or "best")
        model = build_model(
            config.model.name,
            num_classes=len(classes.names),
            multi_label=classes.multi_label,
            data_classes=classes.names,
            **config.model.options,
        )
        load_exactly(model, path)
        return model, config, classes.names, str(path)
    config = load_config(source, overrides)
    if config.model.num_classes is None:
        raise ConfigError(f"{source}: model.num_classes is the data set's; give --set model.num_classes=NUMBER")
    if (weights is None) != untrained:
        raise ConfigError(f"{source}: give --weights FILE for the config's model, or --untrained, and not both")
    options: dict[str, Any] = config.model.options
    model = build_model(config.model.name, num_classes=config.model.num_classes, **options)
    if weights is not None:
        load_weights(model, weights, mode="strict")
    return model, config, tuple(map(str, options.get("class_names", ()))), weights or "none"  # type: ignore[arg-type]


def file_format(out: Path, to: "Format | None") -> "Format":
    """The format of a file by its name's ending.

    Raises:
        ConfigError: another ending, or that of another format than ``to``.
    """
    from vidflow.errors import ConfigError
    from vidflow.models.export import ENDINGS

    found = next((kind for kind, ending in ENDINGS.items() if out.suffix == ending), None)
    if found is None or to not in (None, found):
        wanted = f"{ENDINGS[to]} for --to {to}" if to else ".pt2 (torch.export) or .onnx"
        raise ConfigError(f"--out {out}: the name must end in {wanted}")
    return found


def export(
    source: Annotated[
        str,
        typer.Argument(help="Folder of a run, path of a TOML file, or the name of one that comes with vidflow."),
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write, *.pt2 or *.onnx.")],
    to: Annotated[
        Literal["torch", "onnx"] | None, typer.Option("--to", help="Format.", show_default="that of the file's ending")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            help="Of a run: best, last, or a path. Of a config: path or URL of any file that `vidflow convert` reads.",
            show_default="a run's best",
        ),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            "--shape", help="Sizes of one view, such as 3x8x224x224.", show_default="that of the config's test"
        ),
    ] = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Write a config's model with random weights, to try things.")
    ] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one key of the config; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON document.")] = False,
) -> None:
    """Write a model as one file that runs without vidflow (torch.export or ONNX), compared with the model first."""
    from vidflow.cli.console import print_json, print_line, progress
    from vidflow.errors import ConfigError
    from vidflow.models.export import export_model
    from vidflow.version import __version__

    kind = file_format(out, to)
    model, config, classes, used = load_source(source, weights, set_ or [], untrained=untrained)
    shapes = input_shapes(model, config, shape)
    about = {
        "vidflow": __version__,
        "config": config.name,
        "model": config.model.name,
        "weights": used,
        "inputs": {name: ["samples", "views", *sizes] for name, sizes in shapes.items()},
        "output": "class scores [samples, views, classes] before softmax or sigmoid",
        "classes": classes,
        "pipeline": config.data.test_pipeline.model_dump(mode="json"),
    }
    with progress(f"export {config.model.name}", None, unit="files"):
        try:
            difference = export_model(model, out, to=kind, shapes=shapes, about=about)
        except ValueError as error:
            raise ConfigError(f"{source}: {config.model.name} does not take views of {shapes} ({error})") from error
    report = {"out": str(out), "format": kind, "bytes": out.stat().st_size, "largest_difference": difference, **about}
    if as_json:
        del report["pipeline"]
        print_json(report)
        return
    for name, sizes in shapes.items():
        print_line(f"{name}: float32 samples x views x {' x '.join(map(str, sizes))}")
    print_line("scores: float32 samples x views x classes, before softmax or sigmoid")
    print_line(f"largest difference from the model: {difference:.1e} of the largest score")
    print_line(f"wrote {out} ({out.stat().st_size:,} bytes)")
