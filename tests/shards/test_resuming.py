"""Interrupted runs: killed at any step, stopped by Ctrl-C, out of room; a rerun ends with the same bytes."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from dying import DYING

from vidflow.shards.pack import PackOptions, pack
from vidflow.shards.profiles import PROFILES
from vidflow.shards.sources.class_folders import read_class_folders


@pytest.fixture(scope="module")
def source(tmp_path_factory, clips) -> Path:
    root = tmp_path_factory.mktemp("resuming") / "source"
    for split, count in (("train", 6), ("val", 2)):
        for name in "ab":
            for i in range(count):
                path = root / split / name / f"{i}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(clips[i % len(clips)])
    (root / "train" / "a" / "broken.mp4").write_bytes(b"broken")
    return root


@pytest.fixture
def arguments(source) -> list[str]:
    return ["shard", "--src", str(source), "--max-count", "5", "--workers", "2"]


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory) -> dict[str, Path]:
    """Profile -> a folder that was packed without interruption, by one worker."""
    folders = {}
    for name in ("copy", "train"):
        folders[name] = tmp_path_factory.mktemp("whole") / name
        pack(read_class_folders(source), folders[name], PackOptions(profile=PROFILES[name], max_count=5), workers=1)
    return folders


def running_below(folder: Path) -> list[psutil.Process]:
    """Processes whose command line names the folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in argument for argument in process.info["cmdline"] or ()):
            found.append(process)
    return found


@pytest.mark.parametrize(
    "steps", [0, 5, 8, 14, 27, 32, *(pytest.param(n, marks=pytest.mark.long) for n in (2, 4, 7, 11, 20, 25, 30))]
)
def test_a_run_killed_at_any_step_is_finished_by_the_same_command(steps, command, arguments, whole, files_of, tmp_path):
    killed = subprocess.run(
        [sys.executable, "-c", DYING, str(steps), *arguments, "--out", str(tmp_path / "out")],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, "fewer steps than that: the test must be changed"
    again = command(*arguments, "--out", tmp_path / "out")
    assert again.returncode == 0, again.stderr
    assert files_of(tmp_path / "out") == files_of(whole["copy"])


def test_a_rerun_keeps_the_finished_shards(command, arguments, tmp_path):
    dying = [sys.executable, "-c", DYING, "14", *arguments, "--out", str(tmp_path / "out")]
    subprocess.run(dying, capture_output=True, timeout=60, check=False)
    first = (tmp_path / "out" / "train-000000.tar").stat()
    again = command(*arguments, "--out", tmp_path / "out")
    assert "went on after" in again.stdout
    after = (tmp_path / "out" / "train-000000.tar").stat()
    assert (after.st_ino, after.st_mtime_ns) == (first.st_ino, first.st_mtime_ns)


def test_workers_end_with_a_killed_parent(arguments, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "vidflow", *arguments, "--profile", "train", "--out", str(tmp_path / "out")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    parent = psutil.Process(process.pid)
    children: list[psutil.Process] = []
    deadline = time.monotonic() + 30
    while len(children) < 3 and time.monotonic() < deadline and process.poll() is None:
        children = parent.children(recursive=True)
        time.sleep(0.01)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert children
    assert alive == []


@pytest.mark.parametrize("change", ["option", "source", "new file"])
def test_an_unfinished_run_refuses_another_command_and_names_the_difference(
    change, command, arguments, source, tmp_path
):
    source = Path(shutil.copytree(source, tmp_path / "source"))
    arguments[2] = str(source)
    dying = [sys.executable, "-c", DYING, "14", *arguments, "--out", str(tmp_path / "out")]
    subprocess.run(dying, capture_output=True, timeout=60, check=False)
    expected = {"option": "seed was 0 and is now 7", "source": "train/b/3.mp4", "new file": "sources_sha256"}[change]
    if change == "option":
        arguments += ["--seed", "7"]
    elif change == "source":
        os.utime(source / "train" / "b" / "3.mp4", (1, 1))
    else:
        (source / "train" / "b" / "new.mp4").write_bytes(b"new")
    refused = command(*arguments, "--out", tmp_path / "out")
    assert refused.returncode == 3
    assert expected in refused.stderr
    assert "--overwrite" in refused.stderr
    assert command(*arguments, "--out", tmp_path / "out", "--overwrite").returncode == 0


def interrupted(line: list[str], out: Path) -> tuple[int, str]:
    """Exit status and stderr of a run that gets Ctrl-C when its first shard is there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vidflow", *line, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not list(out.glob("*.tar")) and time.monotonic() < deadline:
        time.sleep(0.005)
    # As a terminal does: to the whole group.
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    return process.returncode, stderr


def test_ctrl_c_leaves_no_process_and_no_temporary_file(command, arguments, whole, files_of, tmp_path):
    line = [*arguments, "--profile", "train"]
    # On a busy machine a run may be through before it is interrupted: then the next one.
    for out in (tmp_path / "1" / "out", tmp_path / "2" / "out", tmp_path / "3" / "out"):
        out.parent.mkdir()
        status, stderr = interrupted(line, out)
        if status:
            break
    assert status == 130
    assert "Traceback" not in stderr
    assert running_below(out) == []
    left = [path.name for path in out.glob(".vidflow/*")]
    assert not [name for name in left if name.endswith(".part") or name.startswith("staging")]
    assert command(*line, "--out", out).returncode == 0
    assert files_of(out) == files_of(whole["train"])


def limit_files_to(size: int):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize(("profile", "size"), [("copy", 9_000), ("copy", 300), ("train", 2_500)])
def test_no_room_leaves_no_half_shard_and_the_rerun_completes(
    profile, size, command, arguments, whole, files_of, tmp_path
):
    line = [*arguments, "--profile", profile]
    full = command(*line, "--out", tmp_path / "out", preexec_fn=limit_files_to(size))
    assert full.returncode == 4
    assert str(tmp_path / "out") in full.stderr.replace("\n", "")
    assert "File too large" in full.stderr.replace("\n", " ")
    left = (
        [path for path in files_of(tmp_path / "out") if path.endswith((".part", ".tar", ".mp4"))]
        if (tmp_path / "out").exists()
        else []
    )
    assert left == []
    assert command(*line, "--out", tmp_path / "out").returncode == 0
    assert files_of(tmp_path / "out") == files_of(whole[profile])
