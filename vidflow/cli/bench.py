"""``vidflow bench``: where the loader's time goes."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vidflow.config.sampling import ClipSampling, SegmentSampling


def _sampling(text: str) -> "SegmentSampling | ClipSampling":
    """``8`` is eight segments, ``32x2`` a clip of 32 frames, each the second of the one before."""
    from vidflow.config.sampling import ClipSampling, SegmentSampling
    from vidflow.errors import ConfigError

    length, separator, stride = text.partition("x")
    try:
        numbers = [int(length), int(stride) if separator else 1]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise ConfigError(f"--clip {text}: must be a number of frames such as 8, or length and stride such as 32x2")
    if separator:
        return ClipSampling(length=numbers[0], interval=numbers[1], random=True)
    return SegmentSampling(num_segments=numbers[0], random=True)


def bench(
    root: Annotated[str, typer.Argument(help="A packed data set.")],
    split: Annotated[str, typer.Option(help="Split to read.")] = "train",
    cfg: Annotated[
        str | None,
        typer.Option(
            help="Use this config's data.train pipeline instead of --clip, a random resized crop to 224x224 and flips."
        ),
    ] = None,
    clip: Annotated[
        str, typer.Option(help="Frames of a clip: 8 (spread over the video) or 32x2 (32 in a row, every second one).")
    ] = "8",
    samples: Annotated[int, typer.Option(min=1, help="Samples per pass.")] = 128,
    batch_size: Annotated[int, typer.Option(min=1)] = 8,
    threads: Annotated[
        str | None, typer.Option(help="Numbers of threads to compare, such as 1,2,4. Default: all cores.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Timed passes; the median counts.")] = 3,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    executor: Annotated[str, typer.Option(help="auto, dali or reference.")] = "auto",
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Peers to time in the same run: all, or some of decord, torchcodec, opencv, webdataset, dali (whole "
            "clips), cat, litdata, ranges (encoded bytes)."
        ),
    ] = None,
    src: Annotated[
        str | None, typer.Option(help="Folder of the original files, for --baseline; copy shards need none.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes of the peers' DataLoader. Default: as many as threads.")
    ] = None,
    plot: Annotated[
        str | None, typer.Option(help="Draw the figures into this .png, .svg or .html file (needs matplotlib).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Time each stage of the loader (read, decode, augment, whole) and name the bottleneck."""
    from pathlib import Path
    from typing import cast, get_args

    from rich.table import Table

    from vidflow.bench.peers import PEERS, peers_for
    from vidflow.bench.plot import check_plot, draw
    from vidflow.bench.report import run_bench
    from vidflow.cli.console import out, print_json, progress
    from vidflow.config.pipeline import ClipPipeline, RandomResizedCrop
    from vidflow.dataset import PackedDataset
    from vidflow.errors import ConfigError
    from vidflow.pipelines.executor import ExecutorName
    from vidflow.pipelines.loader import default_num_threads
    from vidflow.storage import is_remote

    if plot is not None:
        check_plot(Path(plot))
    dataset = PackedDataset.open(root)
    pipeline = ClipPipeline(sampling=_sampling(clip), short_side=None, crop=RandomResizedCrop(), flip=0.5)
    if cfg is not None:
        from vidflow.config.loading import load_config

        chosen = load_config(cfg).data.train
        if not isinstance(chosen, ClipPipeline):
            raise ConfigError(f"--cfg {cfg}: data.train is of kind {chosen.kind!r}; only clip pipelines are timed")
        pipeline = chosen
    try:
        counts = [int(n) for n in threads.split(",")] if threads else [default_num_threads()]
        if min(counts) < 1:
            raise ValueError
    except ValueError:
        raise ConfigError(f"--threads {threads}: must be positive numbers such as 1,2,4") from None
    if executor not in get_args(ExecutorName):
        raise ConfigError(f"--executor {executor}: must be one of {', '.join(get_args(ExecutorName))}")
    indices = dataset.select(split)
    peers = baseline.split(",") if baseline else []
    if baseline == "all":
        peers = peers_for(str(dataset.column("kind")[indices[0]]), remote=is_remote(root))
    for name in peers:
        if name not in PEERS:
            raise ConfigError(f"--baseline {name}: must be all or one of {', '.join(PEERS)}")
    num_samples = min(samples, len(indices))
    with progress("bench", total=(repeats + 1) * (4 * len(counts) + len(peers)), unit="passes") as bar:
        first = [True]

        def advance(name: str) -> None:
            if not first[0]:
                bar.advance(bar.task_ids[0])
            first[0] = False
            bar.update(bar.task_ids[0], note=name)

        report = run_bench(
            dataset,
            pipeline,
            split=split,
            num_samples=num_samples,
            batch_size=min(batch_size, num_samples),
            threads=counts,
            repeats=repeats,
            device=device,
            executor=cast(ExecutorName, executor),
            baselines=peers,
            source=Path(src) if src else None,
            num_workers=max(counts) if workers is None else workers,
            num_cores=default_num_threads(),
            advance=advance,
        )
        bar.advance(bar.task_ids[0])
    if plot is not None:
        draw(report, Path(plot))
    if json:
        print_json(report.to_dict())
        return
    table = Table(title=f"{root} ({report.profile}), {num_samples} samples, batches of {report.batch_size}")
    for column in ("threads", "stage", "clips/s", "MB/s"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for count, stages in report.by_threads.items():
        for stage, rate in stages.items():
            mark = "  <- bottleneck" if (count, stage) == (report.num_threads, report.bottleneck) else ""
            table.add_row(
                str(count),
                stage + mark,
                f"{rate.clips_per_s:.1f}",
                "" if rate.mb_per_s is None else f"{rate.mb_per_s:.1f}",
            )
    for name, peer in report.baselines.items():
        speed = "" if peer.mb_per_s is None else f"{peer.mb_per_s:.1f}"
        table.add_row("", f"{name}; our {peer.stage} is {peer.ratio:.2f}x", f"{peer.clips_per_s:.1f}", speed)
    out.print(table)
    out.print(f"Bottleneck: {report.bottleneck}. {report.advice[0].upper()}{report.advice[1:]}.", markup=False)
