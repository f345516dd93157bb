"""``vidflow fuse``."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from vidflow.cli.options import AsJson
from vidflow.errors import ConfigError

_WITH_COMMAS = re.compile(r"[\d.]+(,[\d.]*)+")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def spread_weights(words: list[str]) -> list[str]:
    """``--weights 1 0.5`` as the option once per number, which is what the parser takes.

    >>> spread_weights(["a.parquet", "b.parquet", "--weights", "1", "0.5", "--json"])
    ['a.parquet', 'b.parquet', '--weights', '1', '--weights', '0.5', '--json']

    Raises:
        ConfigError: what follows the option is no number.
    """
    spread: list[str] = []
    inside = False
    for position, word in enumerate(words):
        if word == "--":
            return spread + words[position:]
        option, equals, value = word.partition("=")
        if option == "--weights":
            inside = True
            first = value if equals else next(iter(words[position + 1 :]), None)
            if first is not None and not _is_number(first):
                raise _no_weight(first)
            if equals or first is None:  # without any word the parser says what is wrong
                spread.append(word)
            continue
        if inside and _WITH_COMMAS.fullmatch(word):
            raise _no_weight(word)
        inside = inside and _is_number(word)
        spread += ["--weights", word] if inside else [word]
    return spread


def _no_weight(word: str) -> ConfigError:
    return ConfigError(f"--weights {word}: no number; write one for each file, with spaces between: --weights 1 0.5")


class _FuseCommand(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread_weights(args))


app = typer.Typer(add_completion=False)


@app.command(name="fuse", cls=_FuseCommand)
def fuse(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Score files of testing (--dump), or MMAction2's result pickles."),
    ],
    weights: Annotated[
        list[float] | None,
        typer.Option("--weights", metavar="W...", help="One number per file.", show_default="all 1"),
    ] = None,
    softmax: Annotated[
        bool, typer.Option("--softmax", help="The files hold logits: turn them into probabilities first.")
    ] = False,
    geometric: Annotated[
        bool, typer.Option("--geometric", help="Average the logarithms of the scores, as if logits were added.")
    ] = False,
    match: Annotated[
        str | None,
        typer.Option(
            "--match",
            metavar="id|stem|order",
            help="Samples are the same by id, by id without extension, or by row.",
            show_default="id; order for pickles, which name no samples",
        ),
    ] = None,
    common: Annotated[
        bool, typer.Option("--common", help="Leave out samples that not all files have, in place of refusing.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Parquet file for the fused scores.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fuse the scores of several models on the same samples, and count how often the fused ones are right."""
    from vidflow.cli.console import print_json, print_line, print_warning
    from vidflow.evaluation.fusing import align, as_probabilities
    from vidflow.evaluation.fusing import fuse as fuse_scores
    from vidflow.evaluation.score_files import metrics_of, read_score_file, write_score_file

    if match not in (None, "id", "stem", "order"):
        raise ConfigError(f"--match {match}: there is id, stem and order")
    if out is not None and out.suffix != ".parquet":
        raise ConfigError(f"--out {out}: the scores are written as Parquet; let the name end in .parquet")
    weights = weights or [1.0] * len(files)
    read = [read_score_file(file) for file in files]
    aligned = align(read, match=match, common=common)  # type: ignore[arg-type]
    if softmax:
        aligned = [as_probabilities(file) for file in aligned]
    fused = fuse_scores(aligned, weights, geometric=geometric)
    each: list[dict[str, Any]] = [
        {"file": file.name, "weight": weight, "num_left_out": len(whole.scores) - len(file.scores)}
        | {"metrics": metrics_of(file)}
        for file, whole, weight in zip(aligned, read, weights, strict=True)
    ]
    metrics = metrics_of(fused)
    if out is not None:
        write_score_file(out, fused)
    if as_json:
        print_json({"num_samples": len(fused.scores), "files": each, "metrics": metrics})
        return
    for entry in each:
        if entry["num_left_out"]:
            print_warning(f"{entry['file']}: {entry['num_left_out']} samples are left out, not all files have them")
    shown: list[tuple[str, dict[str, float]]] = [
        *((f"{entry['file']} x {entry['weight']:g}", entry["metrics"]) for entry in each),
        (f"fused, {len(fused.scores)} samples", metrics),
    ]
    for title, numbers in shown:
        print_line(title)
        for name, value in numbers.items():
            print_line(f"  {name:<26} {value:.4f}")
