"""Recipes: how known data sets are packed from the layout that their owners publish; one TOML each, few parsers."""
