"""Reading the table of published models that comes with vidflow.

Source: the model zoo of MMAction2 1.2.0 (configs/*/*/metafile.yml and README.md) for accuracy, test protocol and
published FLOPs, which are multiply-adds of one view, and projects/*/README.md for CTR-GCN and MS-G3D. ``params`` and
``gmacs`` are exact: counted with its own models, the latter by fvcore, whose rules ``vidflow.models.flops`` repeats. A
row of its README that only repeats another model's numbers is left out (tsm r101 on Kinetics-400).
"""

import csv
import difflib
import importlib.resources
from dataclasses import dataclass

from vidflow.errors import ConfigError

SOURCE = "model zoo of MMAction2 1.2.0"


@dataclass(frozen=True)
class ZooEntry:
    """One published model."""

    task: str
    dataset: str
    config: str
    """Its published name, which is the name of vidflow's config where there is one."""
    params: int
    flops_g: float | None
    """Published multiply-adds of one view, in 10^9."""
    gmacs: float | None
    """The same, counted."""
    input: tuple[int, ...]
    """Shape of one view to which ``gmacs`` belongs: [C, T, H, W] of clips, [M, T, K, C] of skeletons, [C, T, F] of
    sound; empty where it is not counted."""
    metrics: dict[str, float]
    """As published, in the unit of its benchmark (accuracies in percent)."""
    test: str
    """Size and views of the published test."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {**self.__dict__, "input": list(self.input), "source": SOURCE}


def _view_shape(text: str) -> tuple[int, ...]:
    """``1xTx3xHxW`` of 2D models and ``1x1x3xTxHxW`` of 3D ones -> (C, T, H, W), ``1x1xMxTxKxC`` -> (M, T, K, C),
    ``1x1x1xTxF`` -> (1, T, F); of other inputs as it is.

    >>> _view_shape("1x8x3x224x224"), _view_shape("1x1x3x32x256x256"), _view_shape("1x1x2x100x17x3")
    ((3, 8, 224, 224), (3, 32, 256, 256), (2, 100, 17, 3))
    >>> _view_shape("1x1x1x128x80")
    (1, 128, 80)
    """
    if not text:
        return ()
    sizes = tuple(int(part) for part in text.split("x"))
    if len(sizes) == 5:
        _, frames, channels, height, width = sizes
        if channels == 1:
            return channels, height, width
        return channels, frames, height, width
    return sizes[2:] if len(sizes) == 6 else sizes


def _metrics(text: str) -> dict[str, float]:
    pairs = (item.rsplit(" ", 1) for item in text.split("; "))
    return {name: float(value) for name, value in pairs}


def zoo_entries() -> list[ZooEntry]:
    """All published models, task by task."""
    table = importlib.resources.files("vidflow.zoo").joinpath("entries.csv").read_text(encoding="utf-8")
    return [
        ZooEntry(
            task=row["task"],
            dataset=row["dataset"],
            config=row["config"],
            params=int(row["params"]),
            flops_g=float(row["flops_g"]) if row["flops_g"] else None,
            gmacs=float(row["gmacs"]) if row["gmacs"] else None,
            input=_view_shape(row["input"]) if row["task"] in ("recognition", "skeleton") else (),
            metrics=_metrics(row["metrics"]),
            test=row["test"],
        )
        for row in csv.DictReader(table.splitlines())
    ]


def zoo_entry(name: str) -> ZooEntry:
    """The published model of a config's name; ``.toml`` may follow.

    Raises:
        ConfigError: there is none; the message has the nearest name.
    """
    entries = {entry.config: entry for entry in zoo_entries()}
    bare = name.removesuffix(".toml")
    if bare not in entries:
        near = difflib.get_close_matches(bare, entries, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}?" if near else "`vidflow zoo` lists them."
        raise ConfigError(f"no published model {name!r}. {hint}")
    return entries[bare]
