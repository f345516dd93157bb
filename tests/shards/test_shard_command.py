"""``vidflow shard`` as a user runs it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import vidflow
from vidflow.dataset import PackedDataset


def test_class_folders_from_end_to_end(tree, command, tmp_path):
    root = tree("train/run/a.mp4", "train/jump/b.mp4", "val/run/c.mp4", "train/run/x.txt")
    (root / "train" / "run" / "bad.mp4").write_bytes(b"bad")
    result = command("shard", "--src", root, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "5 found = 3 packed + 1 rejected + 1 skipped" in result.stdout
    assert "skipped, 1 x not a video's file name" in result.stdout
    assert result.stderr == ""  # no progress bar where nobody watches
    again = command("shard", "--src", root, "--out", tmp_path / "out")
    assert again.returncode == 0
    assert "complete already" in again.stdout
    assert "1 rejected" in again.stdout


def test_the_json_summary(tree, command, tmp_path):
    root = tree("train/run/a.mp4", "val/run/b.mp4")
    (root / "train" / "run" / "bad.mp4").write_bytes(b"")
    result = command("shard", "--src", root, "--out", tmp_path / "out", "--json")
    summary = json.loads(result.stdout)
    assert (summary["found"], summary["packed"], summary["rejected"], summary["already_complete"]) == (3, 2, 1, False)
    assert summary["rejected_reasons"] == {"probe: cannot be opened as a video": 1}
    assert summary["splits"]["val"]["num_samples"] == 1


def test_annotation_lists_from_end_to_end(tree, command, tmp_path):
    root = tree("a b.mp4", "c.mp4")
    (tmp_path / "train.txt").write_text("a b.mp4 1\n")
    (tmp_path / "val.txt").write_text("c.mp4 0\n")
    (tmp_path / "classes.txt").write_text("walk\nrun\n")
    lists = ["--annotations", f"train={tmp_path / 'train.txt'}", "--annotations", f"val={tmp_path / 'val.txt'}"]
    result = command("shard", "--src", root, *lists, "--classes", tmp_path / "classes.txt", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    dataset = PackedDataset.open(tmp_path / "out")
    assert dataset.info.classes == ("walk", "run")
    assert {(r.id, r.split, r.labels) for r in map(dataset.record, range(2))} == {
        ("a b.mp4", "train", (1,)),
        ("c.mp4", "val", (0,)),
    }


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--strict"], 3, "1 samples rejected, 0 are allowed; the latest is train/run/bad.mp4: cannot be opened"),
        (["--max-rejects", "0"], 3, "1 samples rejected"),
        (["--profile", "fast"], 2, "choose one of copy, train, intra"),
        (["--num-classes", "3"], 2, "--num-classes needs --annotations"),
        (["--workers", "0"], 2, "--workers 0: must be at least 1"),
    ],
)
def test_errors_are_one_line_with_an_exit_status(tree, command, tmp_path, arguments, status, text):
    root = tree("train/run/a.mp4")
    (root / "train" / "run" / "bad.mp4").write_bytes(b"bad")
    result = command("shard", "--src", root, "--out", tmp_path / "out", *arguments)
    assert result.returncode == status, result.stderr
    assert text in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_output_inside_the_source_is_refused(tree, command):
    root = tree("train/run/a.mp4")
    result = command("shard", "--src", root, "--out", root / "train" / "packed")
    assert result.returncode == 2
    assert "lies inside --src" in result.stderr.replace("\n", " ")


def test_an_empty_source_is_an_error_and_leaves_no_files(command, tmp_path):
    (tmp_path / "source" / "train" / "run").mkdir(parents=True)
    result = command("shard", "--src", tmp_path / "source", "--out", tmp_path / "out")
    assert result.returncode == 3
    assert "nothing to pack" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_a_file_without_read_rights_is_rejected(clips):
    # Not below tmp_path, which other users may not enter.
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        path = folder / "secret.mp4"
        path.write_bytes(clips[0])
        path.chmod(0o600)
        code = (
            "import os\n"
            "from vidflow.shards.prepare import Task, prepare\n"
            "from vidflow.shards.profiles import PROFILES\n"
            "from vidflow.shards.sources.items import SourceItem\n"
            "os.setuid(65534)\n"
            f"item = SourceItem({str(path)!r}, 'x', 'train', (0,))\n"
            "print(prepare(Task(0, '000000', item), PROFILES['copy'], 'error', ''))\n"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert result.stdout == "Refused(stage='open', reason='Permission denied')\n"
    finally:
        shutil.rmtree(folder)


def test_packing_imports_neither_torch_nor_dali(tree, tmp_path):
    root = tree("train/run/a.mp4", "val/run/b.mp4")
    code = (
        "import sys\n"
        "from vidflow.cli.main import main\n"
        f"sys.argv = ['vidflow', 'shard', '--src', {str(root)!r}, '--out', {str(tmp_path / 'out')!r}]\n"
        "sys.argv += ['--profile', 'train']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = sorted({'torch', 'nvidia', 'accelerate', 'cv2'} & set(sys.modules))\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "dataset.json").exists()


def test_workers_import_neither_torch_nor_pandas():
    heavy = "{'torch', 'nvidia', 'pandas', 'pyarrow', 'cv2'}"
    code = f"import sys, vidflow.shards.prepare; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == "[]\n"


def test_the_version_is_recorded(tree, command, tmp_path):
    command("shard", "--src", tree("train/run/a.mp4"), "--out", tmp_path / "out")
    assert PackedDataset.open(tmp_path / "out").info.options["vidflow"] == vidflow.__version__
