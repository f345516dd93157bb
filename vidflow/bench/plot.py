"""The bench as a picture: clips/s of each stage by number of threads, and peers as bars beside ours."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from vidflow.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from vidflow.bench.report import BenchReport

_FORMATS = (".png", ".svg", ".html")


def check_plot(path: Path) -> None:
    """Refuse a file that cannot be drawn, before anything is measured.

    Raises:
        ConfigError: another file type, or no such folder.
        MissingExtraError: matplotlib is not installed.
    """
    if path.suffix.lower() not in _FORMATS:
        raise ConfigError(f"--plot {path}: must end in {', '.join(_FORMATS)}")
    if not path.parent.is_dir():
        raise ConfigError(f"--plot {path}: there is no folder {path.parent}")
    try:
        import matplotlib as _  # noqa: F401
    except ImportError:
        raise MissingExtraError("--plot needs matplotlib; pip install 'vidflow[bench]'") from None


def draw(report: "BenchReport", path: Path) -> None:
    """Write the picture; an HTML page holds it as SVG beside the figures, and loads nothing."""
    from matplotlib.figure import Figure

    loaders = {"vidflow": report.stages["loader"].passes}
    loaders |= {name: peer.passes for name, peer in report.baselines.items() if peer.stage == "loader"}
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    threads = sorted(report.by_threads)
    for stage in report.stages:
        left.plot(threads, [report.by_threads[n][stage].clips_per_s for n in threads], marker="o", label=stage)
    left.set(xlabel="threads", ylabel="clips/s", yscale="log", xticks=threads, title="stages")
    left.legend()
    names = list(loaders)
    right.boxplot([loaders[name] for name in names], orientation="horizontal", tick_labels=names)
    right.invert_yaxis()
    right.set(xlabel="clips/s", title="whole clips, each pass")
    right.set_xlim(left=0)
    figure.suptitle(
        f"{report.dataset} ({report.profile}), {report.num_samples} samples, batches of {report.batch_size}"
    )
    if path.suffix.lower() != ".html":
        figure.savefig(path, dpi=120)
        return
    text = io.StringIO()
    figure.savefig(text, format="svg")
    path.write_text(_page(report, text.getvalue()), "utf-8")


def _page(report: "BenchReport", svg: str) -> str:
    from html import escape

    rows = [
        (f"{stage}, {count} threads", rate.clips_per_s, rate.mb_per_s, "")
        for count, stages in report.by_threads.items()
        for stage, rate in stages.items()
    ]
    rows += [
        (name, peer.clips_per_s, peer.mb_per_s, f"our {peer.stage} is {peer.ratio:.2f}x")
        for name, peer in report.baselines.items()
    ]
    body = "".join(
        f"<tr><td>{escape(name)}<td>{clips:.1f}<td>{'' if speed is None else f'{speed:.1f}'}<td>{escape(note)}"
        for name, clips, speed, note in rows
    )
    title = escape(f"vidflow bench {report.dataset}")
    return (
        f"<!doctype html><meta charset=utf-8><title>{title}</title>"
        "<style>body{font-family:sans-serif;max-width:60em;margin:2em auto}td,th{padding:.2em .8em;text-align:right}"
        "td:first-child{text-align:left}</style>"
        f"<h1>{title}</h1>{svg[svg.index('<svg') :]}<table><tr><th>what<th>clips/s<th>MB/s<th>{body}</table>"
        f"<p>Bottleneck: {escape(report.bottleneck)}. {escape(report.advice)}.</p>"
    )
