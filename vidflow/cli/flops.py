"""``vidflow flops``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from torch import nn

    from vidflow.config.any_pipeline import Pipeline
    from vidflow.config.pipeline import ClipPipeline


def view_shape(pipeline: "ClipPipeline") -> tuple[int, int, int, int]:
    """[C, T, H, W] of one view that a pipeline gives.

    Raises:
        ConfigError: its sampling does not tell the number of frames.
    """
    from vidflow.errors import ConfigError

    frames = getattr(pipeline.sampling, "length", None) or getattr(pipeline.sampling, "num_segments", None)
    if frames is None:
        raise ConfigError(f"sampling kind {pipeline.sampling.kind!r} does not tell the frames of a view; give --frames")
    channels = 2 * pipeline.flow_length if pipeline.modality == "flow" else 3
    return (channels, frames, *pipeline.size)


def input_shape(model: "nn.Module", pipeline: "Pipeline") -> tuple[int, ...]:
    """Of one view that a pipeline gives a model: [M, T, K, C] of skeletons, [C, T, F] of sound, [C, T, H, W] of clips.

    Of frames beside heatmaps it is that of the frames.

    Raises:
        ConfigError: the pipeline does not tell it.
    """
    from vidflow.config.audio import AudioPipeline
    from vidflow.config.pipeline import ClipPipeline
    from vidflow.config.rgb_pose import RGBPosePipeline
    from vidflow.config.skeleton import SkeletonPipeline
    from vidflow.errors import ConfigError
    from vidflow.models.skeleton_recognizer import SkeletonRecognizer

    if isinstance(pipeline, ClipPipeline):
        return view_shape(pipeline)
    if isinstance(pipeline, AudioPipeline):
        return (1, pipeline.length, pipeline.mel.num_mels)
    frames = getattr(getattr(pipeline, "sampling", None), "length", None)
    if not isinstance(pipeline, SkeletonPipeline | RGBPosePipeline) or frames is None:
        raise ConfigError(f"a pipeline of kind {pipeline.kind!r} does not tell the size of a view")
    config: Any = model.config
    if isinstance(model, SkeletonRecognizer) and isinstance(pipeline, SkeletonPipeline):
        return (pipeline.num_people, frames, model.layout.num_keypoints, config.in_channels)
    return (config.in_channels, frames, *pipeline.size)


def flops(
    file: Annotated[str, typer.Argument(help="Path of a TOML file, or the name of one that comes with vidflow.")],
    frames: Annotated[int | None, typer.Option("--frames", min=1, help="Frames of the view.")] = None,
    size: Annotated[int | None, typer.Option("--size", min=1, help="Height and width of the view.")] = None,
    depth: Annotated[int, typer.Option("--depth", min=0, help="Show modules down to this depth.")] = 2,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one key of the config; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Count the multiply-adds of a config's model for one view, module by module.

    A published model is counted at the size at which its authors counted it, any other at the size of its test.
    """
    import torch

    from vidflow.cli.console import out, print_json, print_line
    from vidflow.config.loading import load_config
    from vidflow.errors import ConfigError
    from vidflow.models import build_model
    from vidflow.models.flops import count_macs
    from vidflow.zoo.entries import zoo_entries

    config = load_config(file, set_ or [])
    published = next((e for e in zoo_entries() if e.config == config.name and e.input), None)
    if config.model.num_classes is None:
        raise ConfigError(f"{file}: model.num_classes is the data set's; give --set model.num_classes=NUMBER")
    options: dict[str, Any] = config.model.options
    with torch.device("meta"):
        model = build_model(config.model.name, num_classes=config.model.num_classes, **options)
    own = published.input if published else input_shape(model, config.data.test_pipeline)
    name = getattr(model, "input_name", "clips")
    if name in ("skeletons", "mel"):
        if size:
            raise ConfigError(f"--size {size}: {name} have no pixels; leave it out")
        axes = "people, frames, keypoints, coordinates" if name == "skeletons" else "channels, frames, bands"
        shape = (own[0], frames or own[1], *own[2:])
    else:
        axes, shape = "channels, frames, pixels", (own[0], frames or own[1], size or own[2], size or own[3])
    try:
        count = count_macs(model, shape)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"{file}: {config.model.name} does not take views of {list(shape)} ({error})") from error
    params = sum(parameter.numel() for parameter in model.parameters())
    reference = published.gmacs if published and shape == published.input else None
    if as_json:
        print_json(
            {
                "config": config.name,
                "model": config.model.name,
                "input": list(shape),
                "params": params,
                "macs": count.total,
                "published_gmacs": reference,
                "modules": count.by_module,
            }
        )
        return
    from rich.table import Table

    table = Table()
    for title in ("module", "G mult-adds", "part"):
        table.add_column(title)
    for name, macs in count.by_module.items():
        if macs and name.count(".") < depth:
            table.add_row(name, f"{macs / 1e9:.3f}", f"{macs / count.total:.1%}")
    out.print(table)
    print_line(f"{config.model.name}: {count.total / 1e9:.3f} G multiply-adds, {params:,} parameters")
    print_line(f"for one view of {' x '.join(map(str, shape))} ({axes})")
    if reference:
        print_line(f"published: {reference:g} G, {count.total / 1e9 / reference - 1:+.2%}")
