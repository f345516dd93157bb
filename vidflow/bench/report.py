"""Run the bench and say what it means."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vidflow.bench.baselines import baseline_pass
from vidflow.bench.stages import stage_passes
from vidflow.bench.timing import Pass, Rate, measure
from vidflow.config.pipeline import ClipPipeline
from vidflow.dataset import PackedDataset
from vidflow.errors import DataError
from vidflow.pipelines.executor import ExecutorName
from vidflow.pipelines.reading import read_samples
from vidflow.schema import SampleRecord


@dataclass(frozen=True)
class BenchReport:
    """What a bench measured, ready for JSON."""

    dataset: str
    profile: str
    num_samples: int
    batch_size: int
    num_threads: int
    """The number of threads that the loader was fastest with; ``stages`` are its figures."""
    stages: dict[str, Rate]
    by_threads: dict[int, dict[str, Rate]]
    bottleneck: str
    advice: str
    baselines: dict[str, dict[str, float]]

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def advise(bottleneck: str, *, profile: str, by_threads: dict[int, float], num_cores: int) -> str:
    """What to try when a stage is the slowest.

    Args:
        profile: how the videos were packed.
        by_threads: clips/s of the whole loader per number of threads.
    """
    more_threads = max(by_threads, key=lambda n: by_threads[n]) == max(by_threads) and max(by_threads) < num_cores
    threads = f"try more threads (--set data.num_threads={2 * max(by_threads)}); " if more_threads else ""
    if bottleneck == "read":
        return "the shards arrive too slowly: move them to a faster disk, or pack smaller files with --profile train"
    if bottleneck == "augment":
        return f"{threads}resampling bounds: a smaller output size, fewer views, no colour jitter, or the GPU executor"
    better = {"copy": "train", "train": "intra"}.get(profile)
    pack = (
        f"pack with --profile {better}, which decodes sparse frames faster"
        if better
        else "the profile is already the fastest to decode"
    )
    return f"{threads}{pack}"


def _originals(
    dataset: PackedDataset, split: str, num_samples: int, source: Path | None, scratch: Path
) -> tuple[list[Path], list[SampleRecord]]:
    """The files behind the first samples of a split: from the source folder, or taken out of ``copy`` shards."""
    indices = dataset.select(split)[:num_samples]
    records = [dataset.record(int(i)) for i in indices]
    if source is not None:
        paths = [source / record.id for record in records]
        missing = [str(path) for path in paths if not path.is_file()]
        if missing:
            raise DataError(
                f"{missing[0]}: not there, and {len(missing) - 1} more; --src must be the folder that was packed"
            )
        return paths, records
    if dataset.info.options.get("profile") != "copy":
        raise DataError(f"{dataset.storage.root}: not packed with profile copy; name the original files with --src DIR")
    paths = []
    for _, record, data in read_samples(dataset, indices):
        assert record.video is not None
        paths.append(scratch / f"{record.key}.{record.video.container}")
        paths[-1].write_bytes(data)
    return paths, records


def run_bench(
    dataset: PackedDataset,
    pipeline: ClipPipeline,
    *,
    split: str,
    num_samples: int,
    batch_size: int,
    threads: Sequence[int],
    repeats: int,
    device: str,
    executor: ExecutorName,
    baselines: Sequence[str],
    source: Path | None,
    num_workers: int,
    num_cores: int,
    advance: Callable[[str], None],
) -> BenchReport:
    """Time the stages for each number of threads and the baselines, all in turns.

    Args:
        num_samples: samples per pass.
        baselines: names from ``vidflow.bench.baselines.READERS``.
        source: folder of the original files, for the baselines.
        num_workers: processes of the baselines' DataLoader.
    """
    passes: dict[str, Pass] = {}
    for count in threads:
        stages = stage_passes(
            dataset,
            pipeline,
            split=split,
            num_samples=num_samples,
            batch_size=batch_size,
            num_threads=count,
            device=device,
            executor=executor,
        )
        passes |= {f"{count} {name}": stage for name, stage in stages.items()}
    with tempfile.TemporaryDirectory(prefix="vidflow-bench-") as scratch:
        if baselines:
            paths, records = _originals(dataset, split, num_samples, source, Path(scratch))
            for name in baselines:
                passes[f"baseline {name}"] = baseline_pass(
                    name, paths, records, pipeline, batch_size=batch_size, num_workers=num_workers
                )
        rates = measure(passes, repeats=repeats, advance=advance)
    by_threads = {
        count: {name: rates[f"{count} {name}"] for name in ("read", "decode", "augment", "loader")} for count in threads
    }
    best = max(threads, key=lambda count: by_threads[count]["loader"].clips_per_s)
    stages_best = by_threads[best]
    bottleneck = min(("read", "decode", "augment"), key=lambda name: stages_best[name].clips_per_s)
    profile = str(dataset.info.options.get("profile", "unknown"))
    ours = stages_best["loader"].clips_per_s
    return BenchReport(
        dataset=dataset.storage.root,
        profile=profile,
        num_samples=num_samples,
        batch_size=batch_size,
        num_threads=best,
        stages=stages_best,
        by_threads=by_threads,
        bottleneck=bottleneck,
        advice=advise(
            bottleneck,
            profile=profile,
            num_cores=num_cores,
            by_threads={count: values["loader"].clips_per_s for count, values in by_threads.items()},
        ),
        baselines={
            name: {"clips_per_s": (peer := rates[f"baseline {name}"].clips_per_s), "ratio": ours / peer}
            for name in baselines
        },
    )
