"""What stands around the code keeps its word: pins, make targets, and the commands that the READMEs show."""

import functools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from vidflow.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/**/*.md")])


def _pins() -> dict[str, Version]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pins = {}
    for line in lines:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.]*)", line)
        assert match, f"{line!r} is no plain pin"
        pins[re.sub(r"[-_.]+", "-", match[1]).lower()] = Version(match[2])
    return pins


def test_every_dependency_of_the_set_up_is_pinned_within_its_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [Requirement(text) for text in [*project["dependencies"], *extras["test"], *extras["lint"]]]
    pins = _pins()
    for requirement in wanted:
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in pins, name
        assert pins[name] in requirement.specifier, name


@pytest.fixture
def tree(tmp_path) -> Path:
    """A copy of what `make setup` depends on."""
    for name in ("Makefile", "pyproject.toml", "setup.py", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def _make(tree: Path, *words: str) -> str:
    command = ["make", "--no-print-directory", "-n", *words, f"PYTHON={sys.executable}"]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "VENV", "PYTHON")
    }
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_setup_calls_pip_once_and_again_only_when_its_inputs_change(tree):
    first = _make(tree, "setup")
    assert "-m pip install -c constraints.txt --no-build-isolation -e '.[test,lint]'" in first
    (stamp,) = re.findall(r"^touch (\S+)$", first, re.MULTILINE)
    (tree / stamp).parent.mkdir()
    (tree / stamp).touch()
    assert "pip" not in _make(tree, "setup")
    os.utime(tree / "pyproject.toml")  # a checkout touches files without changing them
    assert "pip" not in _make(tree, "setup")
    for name in ("pyproject.toml", "constraints.txt"):
        text = (tree / name).read_text()
        (tree / name).write_text(text + "\n# changed\n")
        assert "pip install" in _make(tree, "setup")
        (tree / name).write_text(text)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("target", ["demo", "test", "lint"])
def test_targets_set_the_environment_up_first(tree, target):
    lines = _make(tree, target).splitlines()
    assert next(i for i, line in enumerate(lines) if "pip install" in line) < len(lines) - 1


def _shown_commands() -> list[tuple[str, str]]:
    """(document, command) of every vidflow, experiments/*.py and make call in code blocks and code spans."""
    shown = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
        for line in [line for block in blocks for line in block.replace("\\\n", " ").splitlines()] + spans:
            command = line.split("#")[0].removeprefix("$ ").strip()
            if re.match(r"(vidflow|accelerate launch experiments/\w+\.py) \S", command):
                shown.append((path.name, command))
    return shown


def test_documents_show_commands():
    assert len(_shown_commands()) >= 10


@functools.cache
def _help(*command: str) -> str:
    environment = {**os.environ, "COLUMNS": "250", "NO_COLOR": "1"}
    words = [sys.executable, "-m", "vidflow", *command, "--help"]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("document", "command"), _shown_commands())
def test_shown_commands_and_their_options_exist(document, command):
    words = re.sub(r"^accelerate launch experiments/(\w+)\.py", r"vidflow \1", command).split()[1:]
    if words[0].startswith("-"):
        return
    assert words[0] in COMMANDS, f"{document}: {command}"
    named = words[:2] if COMMANDS[words[0]].endswith(":app") else words[:1]  # a group has subcommands
    for word in words[1:]:
        if word.startswith("--"):
            assert re.search(rf"{re.escape(word.split('=')[0])}\b", _help(*named)), f"{document}: {command}: no {word}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path):
    targets = re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if "://" not in target and not (path.parent / target).exists()] == []
