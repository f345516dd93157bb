"""Lists the packages: the four room folders are installed below ``vidflow`` (see pyproject.toml)."""

from setuptools import find_packages, setup

ROOMS = ("shards", "pipelines", "models", "experiments")
# The links vidflow/<room> -> ../<room> would list each room twice: leave them out here.
found = find_packages(".", include=["vidflow", "vidflow.*"])
inside = [name for name in found if name.split(".")[1:2] not in [[room] for room in ROOMS]]
rooms = [f"vidflow.{p}" for p in find_packages(".", include=[name for r in ROOMS for name in (r, f"{r}.*")])]
setup(packages=sorted(inside + rooms), package_dir={"vidflow": "vidflow"} | {f"vidflow.{r}": r for r in ROOMS})
