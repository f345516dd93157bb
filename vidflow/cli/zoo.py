"""``vidflow zoo``."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vidflow.zoo.entries import ZooEntry


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _details(entry: "ZooEntry", shipped: bool) -> list[str]:
    from vidflow.zoo.entries import SOURCE

    lines = [
        entry.config,
        f"task: {entry.task} on {entry.dataset}",
        f"published: {', '.join(f'{name} {value:g}' for name, value in entry.metrics.items())}",
    ]
    if entry.test:
        lines.append(f"test: {entry.test}")
    lines.append(f"parameters: {entry.params:,}")
    if entry.flops_g is not None:
        lines.append(f"published multiply-adds of one view: {entry.flops_g:g} G")
    if entry.gmacs is not None:
        graph = entry.task == "skeleton" and entry.input[-1:] == (3,)
        axes = "people, frames, keypoints, coordinates" if graph else "channels, frames, pixels"
        if len(entry.input) == 3:
            axes = "channels, frames, bands"
        shape = f" of {' x '.join(map(str, entry.input))} ({axes})" if entry.input else ""
        lines.append(f"counted multiply-adds: {entry.gmacs:.2f} G for one view{shape}")
    lines.append(f"source: {SOURCE}")
    lines.append(
        f"train it: vidflow train --cfg {entry.config}.toml" if shipped else "vidflow has no config for it yet"
    )
    return lines


def zoo(
    name: Annotated[str | None, typer.Argument(help="Show this one.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="Only this task, such as recognition.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Only data sets whose name holds this.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the published models with their accuracy, parameters and multiply-adds."""
    from vidflow.cli.console import out, print_json, print_line
    from vidflow.config.loading import shipped_folder
    from vidflow.errors import ConfigError
    from vidflow.zoo.entries import zoo_entries, zoo_entry

    shipped = {path.stem for path in shipped_folder().rglob("*.toml") if path.parent.name != "base"}
    if name is not None:
        if task or dataset:
            raise ConfigError("NAME shows one model; leave --task and --dataset out")
        entry = zoo_entry(name)
        if as_json:
            print_json(entry.as_dict() | {"has_config": entry.config in shipped})
        else:
            for line in _details(entry, entry.config in shipped):
                print_line(line)
        return
    entries = zoo_entries()
    tasks, datasets = dict.fromkeys(e.task for e in entries), dict.fromkeys(e.dataset for e in entries)
    if task is not None and task not in tasks:
        raise ConfigError(f"--task {task}: there are {', '.join(tasks)}")
    if dataset is not None and not any(dataset.lower() in known.lower() for known in datasets):
        raise ConfigError(f"--dataset {dataset}: there are {', '.join(datasets)}")
    chosen = [
        e
        for e in entries
        if (task is None or e.task == task) and (dataset is None or dataset.lower() in e.dataset.lower())
    ]
    if as_json:
        print_json([entry.as_dict() | {"has_config": entry.config in shipped} for entry in chosen])
        return
    from rich.table import Table

    table = Table()
    table.add_column("name", overflow="fold")
    for title in ("data set", "published", "M params", "G mult-adds", "config"):
        table.add_column(title)
    for entry in chosen:
        metric, value = next(iter(entry.metrics.items()))
        table.add_row(
            entry.config,
            entry.dataset,
            f"{metric} {value:g}",
            f"{entry.params / 1e6:.2f}",
            _number(entry.flops_g),
            "yes" if entry.config in shipped else "no",
        )
    out.print(table)
    print_line(f"{len(chosen)} models; one in full: vidflow zoo NAME")
