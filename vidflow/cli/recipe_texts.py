"""A recipe in words: for the terminal and for docs/recipes.md."""

from collections.abc import Sequence

from vidflow.shards.recipes.recipe import Count, Fold, Recipe

_HEAD = """# Recipes

`vidflow shard --recipe NAME --src DIR --out OUT` packs a known data set from the layout that its owners publish, with
their splits and the class order that the field uses. Nothing is downloaded: get the data from the owners' page, under
their terms. This page is written by `vidflow recipes --markdown`; do not edit it by hand.

- Annotation files are looked for below `--src`, as each tree shows, or in the folder that `--annotations` names. A file
  that is missing stops the command with its name, the owners' page and the tree.
- Videos are found by their file names at any depth, whatever their extension; class folders may be spelt with spaces or
  underscores. A file in another class's folder is never taken, and a name that fits two files is an error.
- Videos of the lists that are missing stop the command, and with `--allow-missing` they are listed in `rejected.jsonl`.
  Videos that no list names are left out and counted.
- `--fold` takes one of several published ways to split, the first by default. `--splits` takes some of the splits;
  those in brackets are packed only then. Where the owners call the second split test, train with
  `--set data.val_split=test --set data.test_split=test`.
- The lists are checked against the published counts, where every copy of them is the same; a difference is a warning.

| recipe | data set | samples | classes | splits | page |
|---|---|---|---|---|---|
"""


def splits_of(recipe: Recipe) -> str:
    """The splits, those that are packed on request in brackets, and the folds."""
    text = ", ".join([*recipe.splits, *(f"[{split}]" for split in recipe.more_splits)])
    return f"{text}; folds {', '.join(map(str, recipe.folds))}" if recipe.folds else text


def samples_of(recipe: Recipe) -> str:
    """Kind of the samples and task, where they differ."""
    return recipe.kind if recipe.kind == recipe.task else f"{recipe.kind} for {recipe.task}"


def classes_of(recipe: Recipe) -> str:
    """How many classes, and whether a sample may have several."""
    if not recipe.num_classes:
        return f"{recipe.texts}, no classes"
    return f"{recipe.num_classes} classes, {'any number of labels each' if recipe.multi_label else 'one label each'}"


def command(recipe: Recipe) -> str:
    """How to pack it."""
    fold = f" --fold {recipe.folds[0]}" if recipe.folds else ""
    profile = " --profile train" if recipe.timeline else ""
    return f"vidflow shard --recipe {recipe.name} --src SRC{fold}{profile} --out data/{recipe.name}"


def _counts(counts: Sequence[Count]) -> list[str]:
    lines: dict[tuple[Fold | None, str], list[str]] = {}
    for count in counts:
        about = "" if count.exact else "about "
        lines.setdefault((count.fold, count.source), []).append(f"{count.split} {about}{count.videos:,}")
    return [
        f"{'' if fold is None else f'fold {fold}: '}{', '.join(parts)} ({source})"
        for (fold, source), parts in lines.items()
    ]


def _facts(recipe: Recipe) -> list[tuple[str, str]]:
    facts = [
        ("page", recipe.page),
        ("paper", recipe.paper),
        ("licence", recipe.licence),
        ("samples", f"{samples_of(recipe)}, {classes_of(recipe)}"),
        ("splits", splits_of(recipe)),
    ]
    facts += [("videos", text) for text in _counts(recipe.counts)]
    return facts + ([("note", recipe.note)] if recipe.note else [])


def details(recipe: Recipe) -> str:
    """All that a recipe says, for the terminal."""
    lines = [f"{recipe.name}: {recipe.title}"]
    lines += [f"  {title + ':':<14} {value}" for title, value in _facts(recipe)]
    lines += ["", *recipe.layout.strip("\n").splitlines(), "", command(recipe)]
    return "\n".join(lines)


def page(recipes: Sequence[Recipe]) -> str:
    """The text of docs/recipes.md."""
    rows = []
    for recipe in recipes:
        cells = (f"[{recipe.name}](#{recipe.name})", recipe.title, samples_of(recipe), classes_of(recipe))
        rows.append(f"| {' | '.join(cells)} | {splits_of(recipe)} | {recipe.page} |\n")
    parts = [_HEAD, *rows]
    for recipe in recipes:
        facts = "".join(f"- {title}: {value}\n" for title, value in _facts(recipe))
        tree = recipe.layout.strip("\n")
        parts.append(
            f"\n## {recipe.name}\n\n{recipe.title}\n\n{facts}\n```\n{tree}\n```\n\n```\n{command(recipe)}\n```\n"
        )
    return "".join(parts)
