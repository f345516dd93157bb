"""Run the bench and say what it means."""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vidflow.bench.peers import PEERS, peer_pass
from vidflow.bench.peers.job import PeerJob
from vidflow.bench.stages import stage_passes
from vidflow.bench.timing import Pass, Rate, measure
from vidflow.config.pipeline import ClipPipeline
from vidflow.dataset import PackedDataset
from vidflow.pipelines.executor import ExecutorName


@dataclass(frozen=True)
class PeerRate:
    """How a peer did beside us."""

    stage: str
    """The stage of ours that does the same work: ``loader`` or ``read``."""
    clips_per_s: float
    mb_per_s: float | None
    ratio: float
    """Ours over the peer's: of clips/s for ``loader``, of MB/s for ``read``. Median of the turns' own ratios."""
    passes: tuple[float, ...]
    """clips/s of each turn."""


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
    baselines: dict[str, PeerRate]

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
        baselines: names from ``vidflow.bench.peers.PEERS``.
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
        job = PeerJob(
            dataset=dataset,
            pipeline=pipeline,
            indices=dataset.select(split)[:num_samples],
            batch_size=batch_size,
            num_workers=num_workers,
            source=source,
            scratch=Path(scratch),
        )
        passes |= {f"baseline {name}": peer_pass(name, job) for name in baselines}
        rates = measure(passes, repeats=repeats, advance=advance)
    by_threads = {
        count: {name: rates[f"{count} {name}"] for name in ("read", "decode", "augment", "loader")} for count in threads
    }
    best = max(threads, key=lambda count: by_threads[count]["loader"].clips_per_s)
    stages_best = by_threads[best]
    bottleneck = min(("read", "decode", "augment"), key=lambda name: stages_best[name].clips_per_s)
    profile = str(dataset.info.options.get("profile", "unknown"))
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
            name: _beside(stages_best[PEERS[name].stage], rates[f"baseline {name}"], name) for name in baselines
        },
    )


def _beside(ours: Rate, peer: Rate, name: str) -> PeerRate:
    """Turn by turn, since a change of the machine's mood meets neighbours alike."""
    scale = 1.0
    if PEERS[name].stage == "read":
        assert ours.mb_per_s is not None
        assert peer.mb_per_s is not None
        scale = (ours.mb_per_s / ours.clips_per_s) / (peer.mb_per_s / peer.clips_per_s)
    ratio = statistics.median(a / b for a, b in zip(ours.passes, peer.passes, strict=True)) * scale
    return PeerRate(PEERS[name].stage, peer.clips_per_s, peer.mb_per_s, ratio, peer.passes)
