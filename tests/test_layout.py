"""The four room folders are installed below ``vidflow``: the disk, the list of packages and the wheel agree."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("shards", "pipelines", "models", "experiments")


def _python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)


def _sources() -> dict[str, Path]:
    """Every Python file, shipped TOML and table by its place in the wheel."""
    found = {}
    for top in ("vidflow", *ROOMS):
        prefix = "" if top == "vidflow" else "vidflow/"
        for folder, names, files in os.walk(ROOT / top):  # does not follow the links vidflow/<room>
            names[:] = [name for name in names if name != "__pycache__"]
            for file in files:
                path = Path(folder) / file
                if (
                    path.suffix == ".py"
                    or (top in ("experiments", "shards") and path.suffix == ".toml")
                    or (top == "vidflow" and path.suffix == ".csv")
                    or file == "py.typed"
                ):
                    found[prefix + path.relative_to(ROOT).as_posix()] = path
    return found


@pytest.fixture(scope="module")
def listed() -> dict[str, object]:
    """``packages`` and ``package_dir`` as setup.py gives them."""
    code = (
        "import json, setuptools; from distutils.core import run_setup; d = run_setup('setup.py', stop_after='init');"
        "print(json.dumps({'packages': d.packages, 'package_dir': d.package_dir}))"
    )
    done = _python(code, ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_packages_on_disk_are_the_packages_that_setup_lists(listed):
    on_disk = {name.rpartition("/")[0].replace("/", ".") for name in _sources() if name.endswith(".py")}
    assert sorted(listed["packages"]) == sorted(on_disk)


def test_every_room_is_mapped_below_vidflow(listed):
    assert listed["package_dir"] == {"vidflow": "vidflow"} | {f"vidflow.{room}": room for room in ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_link_points_at_its_folder(room):
    link = ROOT / "vidflow" / room
    assert link.is_symlink()
    assert link.readlink() == Path("..") / room
    assert (link / "__init__.py").samefile(ROOT / room / "__init__.py")


@pytest.mark.parametrize("room", ROOMS)
def test_bare_folder_name_is_refused_with_advice(room):
    done = _python(f"import {room}", ROOT)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last == f"ImportError: '{room}' is the folder's name; import it as 'vidflow.{room}'"


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_by_its_full_name_from_anywhere(room, tmp_path):
    done = _python(f"import vidflow.{room} as room; print(room.__file__)", tmp_path)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).samefile(ROOT / room / "__init__.py")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel, built without a network from a copy of what it is made of."""
    tree = tmp_path_factory.mktemp("wheel") / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in ("vidflow", *ROOMS):
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        "dist",
        ".",
    ]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tree / "dist").glob("vidflow-*.whl")
    return zipfile.ZipFile(path)


def test_wheel_has_nothing_but_vidflow_at_its_top(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"vidflow"}
    assert len(tops) == 2


def test_wheel_holds_every_source_and_config_once(wheel):
    inside = Counter(name for name in wheel.namelist() if ".dist-info/" not in name)
    assert inside == Counter(list(_sources()))
    for name, path in _sources().items():
        assert wheel.read(name) == path.read_bytes(), name


def test_wheel_holds_no_links(wheel):
    # A zip keeps a file's Unix mode in the upper half of external_attr; 0o12 is a link.
    assert [info.filename for info in wheel.infolist() if info.external_attr >> 28 == 0o12] == []
