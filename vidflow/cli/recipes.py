"""``vidflow recipes``."""

from typing import Annotated

import typer


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show what this one needs.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/recipes.md.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the data sets that `vidflow shard --recipe NAME` packs from the layout that their owners publish.

    Nothing is downloaded: get the data from the owners' page, under their terms.
    """
    from vidflow.cli.console import out, print_json, print_line
    from vidflow.cli.recipe_texts import details, page, samples_of, splits_of
    from vidflow.errors import ConfigError
    from vidflow.shards.recipes.recipe import load_recipe, recipe_names

    if markdown and (as_json or name is not None):
        raise ConfigError("--markdown prints the page of all recipes; leave NAME and --json out")
    if name is not None:
        recipe = load_recipe(name)
        if as_json:
            print_json(recipe.model_dump())
        else:
            print_line(details(recipe))
        return
    found = [load_recipe(known) for known in recipe_names()]
    if as_json:
        print_json([recipe.model_dump() for recipe in found])
    elif markdown:
        out.file.write(page(found))
    else:
        from rich.markup import escape
        from rich.table import Table

        table = Table()
        table.add_column("recipe", no_wrap=True)
        for title in ("data set", "samples", "classes", "splits"):
            table.add_column(title)
        for recipe in found:
            classes, splits = str(recipe.num_classes), escape(splits_of(recipe))
            table.add_row(recipe.name, recipe.title, samples_of(recipe), classes, splits)
        out.print(table)
        print_line("what one needs and where it is published: vidflow recipes NAME")
        print_line("packing: vidflow shard --recipe NAME --src DIR --out OUT")
