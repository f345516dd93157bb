"""``vidflow extract`` as a group: quick help for each subcommand."""

import subprocess
import sys

import pytest

from vidflow.cli.extract import COMMANDS

HEAVY = ("av", "cv2", "nvidia", "pandas", "pyarrow", "torch", "webdataset")


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS)])
def test_help_shows_how_to_call_it_and_imports_nothing_heavy(words):
    code = (
        "import sys; from vidflow.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "finally: print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    line = [sys.executable, "-c", code, "extract", *words, "--help"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert f"Usage: {' '.join(('vidflow', 'extract', *words))}" in done.stdout
    assert not set(HEAVY) & set(done.stderr.split())


def test_an_unknown_subcommand_is_named():
    done = subprocess.run([sys.executable, "-m", "vidflow", "extract", "nonsense"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "nonsense" in done.stderr
