"""Whether a run may go on with a config: settings that decide the result must be those it was started with."""

from pathlib import Path
from typing import Any

from vidflow.config.experiment import Experiment
from vidflow.config.loading import to_tables
from vidflow.engine.checkpoint import check_checkpoint
from vidflow.engine.runs import ClassList, RunFolder
from vidflow.errors import ConfigError

FREE = {
    "name",
    "output",
    "data.root",
    "data.executor",
    "data.decode",
    "data.num_threads",
    "data.workers",
    "data.on_bad_sample",
    "data.on_bad_sample_eval",
    "data.max_skipped",
    "data.checksums",
    "data.cache",
    "data.cache_bytes",
    "data.batch_size_eval",
    "data.test_split",
    "model.load_from",
    "model.head_rows",
    "train.max_steps",
    "train.val_every",
    "train.checkpoint_every_epochs",
    "train.checkpoint_every_steps",
    "train.log_every",
    "train.tracker",
    "train.compile",
}
"""Settings that may change: where things lie, what is written down, and how fast it goes."""


def _flat(tables: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        name = f"{prefix}{key}"
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = {str(number): item for number, item in enumerate(value)}
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def _is_free(key: str) -> bool:
    """Whether a setting is one of where things lie, in [data.test], or a source's root."""
    return key.startswith("data.test.") or (key.startswith("data.sources.") and key.endswith(".root"))


def check_same_run(old: Experiment, new: Experiment, where: str) -> None:
    """A resumed run must mean the same as the first.

    ``train.epochs`` may change too, unless the schedule is a cosine, which is drawn over all epochs.

    Raises:
        ConfigError: listing each setting that differs, with both values.
    """
    before, after = _flat(to_tables(old)), _flat(to_tables(new))
    free = FREE | ({"train.epochs"} if new.schedule.kind != "cosine" else set())
    lines = [
        f"  {key}: {before.get(key, 'not set')} -> {after.get(key, 'not set')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key) and key not in free and not _is_free(key)
    ]
    if lines:
        raise ConfigError(
            f"{where}: cannot resume, the config has changed in what decides the result:\n" + "\n".join(lines) + "\n"
            "Set these back, or start another run: --set name=NEW"
        )


def check_same_classes(run: RunFolder, classes: ClassList) -> None:
    """The scores of a resumed run must stand for what they stood for: files that the config names may have changed.

    Raises:
        ConfigError: naming the first class that differs.
    """
    if not run.config_path.is_file():
        return
    old = run.classes()
    if old.multi_label != classes.multi_label or len(old.names) != len(classes.names):
        kinds = {True: "any number per sample", False: "one per sample"}
        change = (
            f"{len(old.names)} classes, {kinds[old.multi_label]} -> "
            f"{len(classes.names)} classes, {kinds[classes.multi_label]}"
        )
    elif old.names != classes.names:
        pairs = enumerate(zip(old.names, classes.names, strict=True))
        number, (before, after) = next((n, pair) for n, pair in pairs if pair[0] != pair[1])
        change = f"class {number}: {before!r} -> {after!r}"
    else:
        return
    raise ConfigError(
        f"{run.path}: cannot resume, the classes have changed ({change}); restore the files that data.classes, "
        "label_map and data.root name, or start another run: --set name=NEW"
    )


def find_start(run: RunFolder, config: Experiment, *, resume: bool | Path, overwrite: bool) -> Path | None:
    """The checkpoint to start from, or None for a fresh start. Only looks; changes nothing.

    Raises:
        ConfigError: the folder is taken, or holds a run of another config.
        WeightsError: no checkpoint there.
    """
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite exclude each other")
    if isinstance(resume, Path):
        check_checkpoint(resume)
        if run.config_path.is_file():
            check_same_run(run.config(), config, str(run.path))
        if run.saved_steps() and not run.owns(resume):
            raise ConfigError(
                f"{run.path}: has checkpoints of its own, which one from elsewhere would replace; go on with --resume, "
                "or start another run: --set name=NEW"
            )
        return resume
    if run.path.exists() and not run.path.is_dir():
        raise ConfigError(f"{run.path}: is a file, not a run's folder; choose another name or output")
    if not run.exists:
        return None
    if overwrite:
        if not run.config_path.is_file():
            raise ConfigError(f"{run.path}: holds files but no run (no config.toml); choose another name or output")
        return None
    if not resume:
        raise ConfigError(
            f"{run.path}: exists already; go on with --resume, start anew with --overwrite, "
            "or choose another name with --set name=NEW"
        )
    check_same_run(run.config(), config, str(run.path))
    steps = run.saved_steps()
    return steps[-1] if steps else None
