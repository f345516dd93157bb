"""Lists the packages: the four room folders are installed below ``vidflow`` (see pyproject.toml)."""

from setuptools import find_packages, setup

ROOMS = ("shards", "pipelines", "models", "experiments")
# The links vidflow/<room> -> ../<room> would list each room twice: leave them out here.
inside = [p for p in find_packages(".", include=["vidflow", "vidflow.*"]) if p.split(".")[1:2] not in [[r] for r in ROOMS]]
rooms = [f"vidflow.{p}" for p in find_packages(".", include=[name for r in ROOMS for name in (r, f"{r}.*")])]
setup(packages=sorted(inside + rooms), package_dir={"vidflow": "vidflow"} | {f"vidflow.{r}": r for r in ROOMS})
