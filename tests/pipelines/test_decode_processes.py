"""Processes that decode beside a loader: the same clips, and what happens when one of them dies."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from pictures import frames_sample

from vidflow.config.augmentation import RandAugment
from vidflow.config.pipeline import ClipPipeline, ClipSampling, Normalize, SegmentSampling, ThreeCrop
from vidflow.errors import ConfigError, DecodeError, VidflowError
from vidflow.pipelines import decode_processes
from vidflow.pipelines.decode_processes import DecodeProcesses, shared_processes
from vidflow.pipelines.executor import make_executor
from vidflow.pipelines.loader import build_loader, takes_processes
from vidflow.pipelines.plan import make_plan, sample_rng
from vidflow.pipelines.reading import read_samples
from vidflow.pipelines.shared_bytes import SharedBytes
from vidflow.pipelines.work import WorkItem, needed_content, prepare_on_host

PIPELINE = ClipPipeline(sampling=SegmentSampling(num_segments=4, random=True), size=(56, 48), short_side=80)
START_SECONDS = 60


def ready(processes: DecodeProcesses, count: int) -> DecodeProcesses:
    end = time.monotonic() + START_SECONDS
    while processes._free.qsize() < count:
        assert time.monotonic() < end, "no process is ready"
        time.sleep(0.01)
    return processes


@pytest.fixture
def processes():
    made = DecodeProcesses()
    made.ensure(1)
    yield ready(made, 1)
    made.close()


def pids(processes: DecodeProcesses) -> list[int]:
    return [worker._process.pid for worker in processes._workers]


@pytest.fixture
def item(packed) -> WorkItem:
    ((_, record, data),) = read_samples(packed, packed.select("train")[:1])
    return WorkItem(record, make_plan(record, PIPELINE, sample_rng(0, 0, 0)), data)


def equal(ours, expected) -> bool:
    return len(ours) == len(expected) and all(
        np.array_equal(a, b) for one, other in zip(ours, expected, strict=True) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize(
    "pipeline",
    [
        PIPELINE,
        PIPELINE.model_copy(update={"repeats": 3}),
        PIPELINE.model_copy(update={"rand_augment": RandAugment(), "repeats": 2}),
        ClipPipeline(sampling=ClipSampling(length=4, num_clips=2), short_side=70, crop=ThreeCrop(), size=(64, 64)),
    ],
    ids=["segments", "repeated", "policy", "views"],
)
def test_loaders_give_equal_batches(packed, pipeline):
    ready(shared_processes(2), 2)
    options = {"split": "train", "batch_size": 4, "training": True, "num_threads": 2}
    here, beside = (list(build_loader(packed, pipeline, workers=kind, **options)) for kind in ("threads", "processes"))
    assert [batch.ids for batch in here] == [batch.ids for batch in beside]
    assert all(torch.equal(one.clips, other.clips) for one, other in zip(here, beside, strict=True))


@pytest.mark.parametrize("modality", ["rgb", "flow"])
def test_pictures_come_out_as_here(processes, modality):
    record, members = frames_sample(12, num_flow=11)
    normalize = Normalize(mean=(128.0, 128.0), std=(10.0, 10.0)) if modality == "flow" else Normalize()
    sampling = SegmentSampling(num_segments=3, random=True)
    pipeline = ClipPipeline(modality=modality, sampling=sampling, size=(32, 32), normalize=normalize)
    plan, *more = (make_plan(record, pipeline, sample_rng(0, 0, index)) for index in range(2))
    item = WorkItem(record, plan, members, tuple(more))
    assert equal(processes(item, resample=True), prepare_on_host(item, resample=True))
    assert len(needed_content(item)) < len(members)


def test_frames_that_are_not_resampled_and_files(processes, item, tmp_path):
    expected = prepare_on_host(item, resample=False)
    assert equal(processes(item, resample=False), expected)
    path = tmp_path / "video.mp4"
    path.write_bytes(item.data)
    assert equal(processes(replace(item, data=path), resample=False), expected)


def test_damage_is_told_as_here(processes, item):
    bad = replace(item, data=item.data[:200])
    with pytest.raises(DecodeError) as here:
        prepare_on_host(bad, resample=True)
    with pytest.raises(DecodeError) as beside:
        processes(bad, resample=True)
    assert str(beside.value) == str(here.value)
    assert equal(processes(item, resample=True), prepare_on_host(item, resample=True))
    assert len(processes._workers) == 1


@pytest.mark.parametrize("pictures", [False, True])
def test_an_empty_sample_is_damaged_as_here(processes, item, pictures):
    if pictures:
        record, _ = frames_sample(12)
        item = WorkItem(record, make_plan(record, PIPELINE, sample_rng(0, 0, 0)), {})
    else:
        item = replace(item, data=b"")
    with pytest.raises(DecodeError) as here:
        prepare_on_host(item, resample=True)
    with pytest.raises(DecodeError) as beside:
        processes(item, resample=True)
    assert str(beside.value) == str(here.value)


def test_memory_of_a_large_sample_is_given_back(processes, item, monkeypatch):
    monkeypatch.setattr(decode_processes, "_KEPT_BYTES", 0)
    (worker,) = processes._workers
    for resample in (True, False, True):
        assert equal(processes(item, resample=resample), prepare_on_host(item, resample=resample))
        assert os.fstat(worker._pixels.fd).st_size == os.fstat(worker._encoded.fd).st_size == 0


def test_errors_of_the_program_tell_where_they_were_raised(processes, item):
    with pytest.raises(ValueError, match="lies outside the video") as raised:
        processes(replace(item, plan=replace(item.plan, frames=item.plan.frames + 10**6)), resample=True)
    assert "show_frames" in raised.value.__notes__[0]


@pytest.mark.parametrize(
    ("sent", "error", "words"),
    [
        (signal.SIGSEGV, DecodeError, "brings the decoder down .SIGSEGV"),
        (signal.SIGKILL, VidflowError, "was killed by SIGKILL, as systems do when memory is short"),
    ],
)
def test_a_process_that_dies_is_named_with_its_sample_and_replaced(processes, item, sent, error, words):
    (pid,) = pids(processes)
    os.kill(pid, sent)
    while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    with pytest.raises(error, match=words) as raised:
        processes(item, resample=True)
    assert item.record.key in str(raised.value)
    assert isinstance(raised.value, DecodeError) == (error is DecodeError)
    ready(processes, 1)
    assert pids(processes) != [pid]
    assert equal(processes(item, resample=True), prepare_on_host(item, resample=True))


def test_until_processes_are_ready_the_caller_decodes(item):
    processes = DecodeProcesses()
    assert equal(processes(item, resample=True), prepare_on_host(item, resample=True))


def test_a_process_that_does_not_start_is_an_error(item, monkeypatch):
    monkeypatch.setattr(decode_processes.sys, "executable", "/bin/false")
    processes = DecodeProcesses()
    processes.ensure(1)
    end = time.monotonic() + START_SECONDS
    while processes._failure is None and time.monotonic() < end:
        time.sleep(0.01)
    with pytest.raises(VidflowError, match=r"status 1 before it was ready.*data\.workers = 'threads'"):
        processes(item, resample=True)
    processes.close()


def test_signals_to_the_whole_job_do_not_end_them(processes, item):
    for sent in (signal.SIGINT, signal.SIGTERM):
        os.kill(pids(processes)[0], sent)
    assert equal(processes(item, resample=True), prepare_on_host(item, resample=True))
    assert len(processes._workers) == 1


def test_a_signal_to_the_whole_job_while_they_start_is_no_failure(item):
    processes = DecodeProcesses()
    processes.ensure(1)
    os.kill(pids(processes)[0], signal.SIGTERM)
    end = time.monotonic() + START_SECONDS
    while processes._workers and not processes._free.qsize() and time.monotonic() < end:
        time.sleep(0.01)
    assert equal(processes(item, resample=True), prepare_on_host(item, resample=True))
    processes.close()


def test_after_closing_the_caller_decodes(processes, item):
    processes.close()
    assert equal(processes(item, resample=True), prepare_on_host(item, resample=True))


def test_a_fork_that_ends_leaves_its_parents_processes_alone(tmp_path):
    script = (
        "import os, sys, time\nfrom vidflow.pipelines.decode_processes import shared_processes\n"
        "made = shared_processes(1)\nwhile made._free.qsize() < 1: time.sleep(0.01)\n"
        "child = os.fork()\n"
        "if not child: sys.exit(0)\n"
        "os.waitpid(child, 0)\ntime.sleep(0.2)\n"
        "print(made._workers[0]._process.poll())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


def test_files_of_the_working_directory_are_not_imported(tmp_path):
    (tmp_path / "fractions.py").write_text("raise RuntimeError('the wrong one')")
    script = tmp_path / "elsewhere" / "run.py"
    script.parent.mkdir()
    script.write_text(
        "import time\nfrom vidflow.pipelines.decode_processes import shared_processes\n"
        "made = shared_processes(1)\n"
        "while made._free.qsize() < 1 and made._failure is None: time.sleep(0.01)\n"
        "print(made._failure)\n"
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


def test_they_are_started_when_they_are_first_needed(packed, monkeypatch):
    monkeypatch.setattr(decode_processes, "shared_processes", lambda count: pytest.fail("were started"))
    options = {"split": "train", "batch_size": 4, "training": True, "num_threads": 2, "workers": "processes"}
    for _ in build_loader(packed, PIPELINE, executor="reference", **options):
        break
    build_loader(packed, PIPELINE, **options)


def test_they_end_with_a_process_that_is_killed():
    script = (
        "import time\nfrom vidflow.pipelines.decode_processes import shared_processes\n"
        "made = shared_processes(2)\nwhile made._free.qsize() < 2: time.sleep(0.01)\n"
        "print(*[worker._process.pid for worker in made._workers], flush=True)\ntime.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(children) == 2
        parent.kill()
    _, alive = psutil.wait_procs(children, timeout=20)
    # Nobody waits for orphans in some containers: a zombie has ended too.
    assert all(child.status() == psutil.STATUS_ZOMBIE for child in alive)


def test_they_hold_neither_torch_nor_dali():
    code = "import sys, vidflow.pipelines.decode_worker; print({'torch', 'nvidia.dali'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def _in_a_fork(queue, parents, item) -> None:
    views = parents(item, resample=True)
    queue.put(
        (decode_processes._shared is None, parents._free.qsize(), equal(views, prepare_on_host(item, resample=True)))
    )


def test_a_fork_leaves_its_parents_processes_alone(item):
    parents = ready(shared_processes(1), 1)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_a_fork, args=(queue, parents, item))
    child.start()
    assert queue.get(timeout=30) == (True, parents._free.qsize(), True)
    child.join()
    assert decode_processes._shared is parents
    assert equal(parents(item, resample=True), prepare_on_host(item, resample=True))


def test_auto_takes_them_where_they_have_enough_to_do(monkeypatch):
    assert takes_processes("auto", num_threads=2, num_samples=64)
    assert not takes_processes("auto", num_threads=2, num_samples=63)
    assert not takes_processes("auto", num_threads=1, num_samples=1000)
    assert not takes_processes("threads", num_threads=4, num_samples=1000)
    assert takes_processes("processes", num_threads=1, num_samples=1)
    monkeypatch.delattr(os, "memfd_create")
    assert not takes_processes("auto", num_threads=2, num_samples=64)
    with pytest.raises(ConfigError, match="needs Linux"):
        takes_processes("processes", num_threads=2, num_samples=64)


def test_shared_bytes_grow_and_keep_what_is_in_them():
    ours = SharedBytes.create("test")
    assert len(ours.view(0)) == 0
    theirs = SharedBytes(os.dup(ours.fd))
    small = ours.view(5)
    small[:] = b"hello"
    large = theirs.view(3 << 20)
    assert bytes(large[:5]) == b"hello"
    large[-1] = 7
    assert ours.view(3 << 20)[-1] == 7
    small[:1] = b"j"
    assert bytes(large[:5]) == b"jello"
    ours.close()
    theirs.close()


def test_executors_take_another_host(item):
    calls = []

    def host(item: WorkItem, *, resample: bool):
        calls.append(resample)
        return prepare_on_host(item, resample=resample)

    clips = make_executor(PIPELINE.normalize, "dali", host=host).run([item])
    assert calls == [True]
    assert torch.equal(clips, make_executor(PIPELINE.normalize, "dali").run([item]))
