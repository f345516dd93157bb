"""Jobs from files to files: skipped where done, done again where not, whole or not at all."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import extraction_work
import pytest

from vidflow.errors import ConfigError, DataError, StorageError
from vidflow.shards.extraction.jobs import Job, run_jobs
from vidflow.shards.extraction.ledger import Ledger


@pytest.fixture
def texts(tmp_path):
    """``texts(a="x", ...)`` writes files and gives a job for each: NAME.txt -> NAME.up."""

    def write(**contents: str) -> list[Job]:
        folder = tmp_path / "src"
        folder.mkdir(exist_ok=True)
        for name, text in contents.items():
            (folder / f"{name}.txt").write_text(text)
        return [Job(f"{name}.txt", str(folder / f"{name}.txt"), (f"{name}.up",)) for name in sorted(contents)]

    return write


@pytest.fixture
def run(tmp_path):
    """``run(jobs)`` does them in tmp_path/out."""

    def start(jobs, work=extraction_work.copy_upper, **options):
        values = {"command": "upper", "options": {"level": 1}, "workers": 2} | options
        return run_jobs(jobs, tmp_path / "out", work, **values)

    return start


def visible(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files if ".vidflow" not in path.parts}


def test_all_jobs_are_done_and_a_rerun_does_none_again(texts, run, tmp_path):
    jobs = texts(a="one", b="three")
    report = run(jobs)
    assert (report.num_done, report.num_kept, report.failures, report.size_bytes) == (2, 0, (), 8)
    assert visible(tmp_path / "out") == {"a.up": "ONE", "b.up": "THREE"}
    before = (tmp_path / "out/a.up").stat().st_mtime_ns
    again = run(jobs, workers=1)
    assert (again.num_done, again.num_kept, again.notes) == (0, 2, {"a.txt": {"length": 3}, "b.txt": {"length": 5}})
    assert (tmp_path / "out/a.up").stat().st_mtime_ns == before


def test_a_source_that_has_changed_is_done_again(texts, run, tmp_path):
    run(texts(a="one", b="two"))
    jobs = texts(a="other")
    os.utime(tmp_path / "src/b.txt", ns=(1, 1))
    report = run([*jobs, Job("b.txt", str(tmp_path / "src/b.txt"), ("b.up",))])
    assert (report.num_done, report.num_kept) == (2, 0)
    assert visible(tmp_path / "out") == {"a.up": "OTHER", "b.up": "TWO"}


def test_results_of_sources_that_are_gone_are_counted_and_not_replaced(texts, run, tmp_path):
    first, second = texts(a="one", b="two")
    run([first, second])
    assert run([second]).num_orphans == 1
    renamed = tmp_path / "src/a.doc"
    Path(first.source).rename(renamed)
    with pytest.raises(DataError, match=r"a.up: is there already, made of a.txt, which is no source now"):
        run([Job("a.doc", str(renamed), ("a.up",)), second])
    assert visible(tmp_path / "out") == {"a.up": "ONE", "b.up": "TWO"}
    (tmp_path / "out/a.up").unlink()
    report = run([Job("a.doc", str(renamed), ("a.up",)), second])
    assert (report.num_done, report.num_kept, report.num_orphans) == (1, 1, 0)
    assert run([Job("a.doc", str(renamed), ("a.up",)), second]).num_orphans == 0


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("cu")])
def test_an_output_that_is_gone_or_cut_is_made_again(spoil, texts, run, tmp_path):
    jobs = texts(a="one", b="two")
    run(jobs)
    spoil(tmp_path / "out/a.up")
    assert (run(jobs).num_done, visible(tmp_path / "out")["a.up"]) == (1, "ONE")


def test_a_job_with_other_details_is_done_again(texts, run):
    jobs = texts(a="one")
    run(jobs)
    assert run([Job(jobs[0].id, jobs[0].source, jobs[0].outputs, {"start": 3})]).num_done == 1


def test_other_options_are_refused_until_overwriting_and_then_all_is_made_anew(texts, run, tmp_path):
    jobs = texts(a="one", b="two")
    run(jobs)
    with pytest.raises(DataError, match="another `upper`: level was 1 and is now 2; give --overwrite"):
        run(jobs, options={"level": 2})
    renamed = [Job(job.id, job.source, (f"{job.outputs[0]}2",)) for job in jobs]
    assert run(renamed, options={"level": 2}, overwrite=True).num_done == 2
    assert sorted(visible(tmp_path / "out")) == ["a.up2", "b.up2"]
    assert run(renamed, options={"level": 2}).num_kept == 2


def test_a_broken_source_is_listed_and_the_others_go_on(texts, run, tmp_path):
    jobs = texts(a="broken", b="two", c="crash")
    gone = Job("d.txt", str(tmp_path / "src/d.txt"), ("d.up",))
    folder = Job("e.txt", str(tmp_path), ("e.up",))
    report = run([*jobs, gone, folder])
    assert (report.num_done, report.num_found) == (1, 5)
    lines = [json.loads(line) for line in (tmp_path / "out/failed.jsonl").read_text().splitlines()]
    assert [(line["id"], line["stage"], line["reason"]) for line in lines] == [
        ("a.txt", "decode", "damaged at packet 3"),
        ("c.txt", "decode", "the worker process died of SIGABRT"),
        ("d.txt", "open", "No such file or directory"),
        ("e.txt", "open", "not a regular file"),
    ]
    assert sorted(visible(tmp_path / "out")) == ["b.up", "failed.jsonl"]


def test_a_skipped_job_is_no_failure_and_is_asked_again(texts, run, tmp_path):
    jobs = texts(a="nothing", b="two")
    for num_done, num_kept in ((1, 0), (0, 1)):
        report = run(jobs)
        assert (report.num_done, report.num_kept, report.failures, report.num_found) == (num_done, num_kept, (), 2)
        assert [(skip.id, skip.reason) for skip in report.skipped] == [("a.txt", "there is nothing in it")]
    assert visible(tmp_path / "out") == {"b.up": "TWO"}


def test_a_full_disk_ends_the_run_and_says_where(texts, run, tmp_path):
    with pytest.raises(StorageError, match=r"No space left on device; make room there and run the same command again"):
        run(texts(a="one", b="full"), workers=1)
    assert run(texts(a="one", b="two"), workers=1).num_found == 2


def test_a_source_that_has_been_mended_leaves_the_list_of_failures(texts, run, tmp_path):
    run(texts(a="broken", b="two"))
    report = run(texts(a="whole", b="two"))
    assert (report.failures, visible(tmp_path / "out")) == ((), {"a.up": "WHOLE", "b.up": "TWO"})


def test_the_list_of_failures_keeps_those_of_other_commands(texts, run, tmp_path):
    jobs = texts(a="broken", b="two")
    run(jobs)
    others = [Job(job.id, job.source, (f"{job.id}.other",)) for job in jobs]
    run(others, command="other")
    lines = [json.loads(line) for line in (tmp_path / "out/failed.jsonl").read_text().splitlines()]
    assert [(line["command"], line["id"]) for line in lines] == [("upper", "a.txt"), ("other", "a.txt")]


def test_a_list_of_failures_that_others_have_written_is_kept(texts, run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/failed.jsonl").write_text('my own note\n["x"]\n')
    run(texts(a="broken", b="two"))
    lines = (tmp_path / "out/failed.jsonl").read_text().splitlines()
    assert lines[:2] == ["my own note", '["x"]']
    assert json.loads(lines[2])["id"] == "a.txt"


def test_more_failures_than_allowed_stop_the_run(texts, run):
    jobs = texts(a="broken", b="broken", c="good")
    with pytest.raises(DataError, match=r"2 jobs failed, 1 are allowed; the latest is b.txt: damaged at packet 3"):
        run(jobs, max_failures=1)


def test_nothing_but_failures_is_an_error(texts, run):
    with pytest.raises(DataError, match=r"all 2 jobs failed, such as a.txt: damaged"):
        run(texts(a="broken", b="broken"))


def test_a_source_that_changes_while_it_is_read_fails(texts, run, tmp_path):
    with pytest.raises(DataError, match=r"has changed while it was read"):
        run(texts(a="one"), work=extraction_work.touch_source)
    assert list(visible(tmp_path / "out")) == ["failed.jsonl"]


def test_a_file_that_no_run_has_made_is_never_replaced(texts, run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.up").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(DataError, match=r"a.up: is there already and was not made by an earlier `upper`"):
            run(texts(a="one"), overwrite=overwrite)
    assert visible(tmp_path / "out") == {"a.up": "precious"}


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ((("x",), ("x",)), "a.txt and b.txt: both would become x"),
        ((("x",), ("x/y",)), "a.txt would become x, in which b.txt would lie"),
        ((("../x",), ("y",)), "leads out of the output folder"),
        ((("/x",), ("y",)), "leads out of the output folder"),
    ],
)
def test_jobs_that_would_meet_are_refused_before_any_work(outputs, message, texts, run, tmp_path):
    jobs = texts(a="one", b="two")
    met = [Job(job.id, job.source, names) for job, names in zip(jobs, outputs, strict=True)]
    with pytest.raises(DataError, match=message):
        run(met)
    assert not (tmp_path / "out").exists()


def test_no_jobs_no_workers_and_negative_failures_are_refused(texts, run):
    with pytest.raises(DataError, match="nothing to do"):
        run([])
    with pytest.raises(ConfigError, match="--workers 0"):
        run(texts(a="one"), workers=0)
    with pytest.raises(ConfigError, match="--max-failures -1"):
        run(texts(a="one"), max_failures=-1)


def test_two_runs_into_one_folder_are_refused(texts, run, tmp_path):
    jobs = texts(a="one")
    with Ledger(tmp_path / "out", "upper"), pytest.raises(StorageError, match="another `upper` is writing here"):
        run(jobs)


def test_a_damaged_ledger_names_its_line(texts, run, tmp_path):
    jobs = texts(a="one")
    run(jobs)
    path = tmp_path / "out/.vidflow/upper/done.jsonl"
    path.write_text(path.read_text() + "{}\n")
    with pytest.raises(DataError, match=r"done.jsonl:2: not a line of this version"):
        run(jobs)


def test_a_torn_last_line_counts_as_none(texts, run, tmp_path):
    jobs = texts(a="one", b="two")
    run(jobs)
    path = tmp_path / "out/.vidflow/upper/done.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    (tmp_path / "out/b.up").unlink()
    assert (run(jobs).num_done, run(jobs).num_kept) == (1, 2)


def test_kills_at_random_moments_leave_whole_outputs_and_a_rerun_completes_them(tmp_path):
    src, out = tmp_path / "src", tmp_path / "out"
    src.mkdir()
    for i in range(30):
        (src / f"{i:02d}.txt").write_text(f"text {i}")
    line = [sys.executable, extraction_work.__file__, str(src), str(out)]
    environment = os.environ | {"PYTHONPATH": str(Path(extraction_work.__file__).parent)}
    rng = random.Random(0)
    num_killed = 0
    for _ in range(40):
        process = subprocess.Popen(line, env=environment)
        deadline = time.monotonic() + 60
        before = len(list(out.glob("*/all.txt")))
        while process.poll() is None and len(list(out.glob("*/all.txt"))) == before and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        num_killed += process.wait() != 0
        for folder in out.glob("*/frames"):
            assert len(list(folder.iterdir())) == 5, folder
        if len(list(out.glob("*/all.txt"))) == 30:
            break
    assert num_killed > 1
    subprocess.run(line, env=environment, check=True)
    assert visible(out) == {
        **{f"{i:02d}/frames/{k}.txt": f"text {i} {k}" for i in range(30) for k in range(5)},
        **{f"{i:02d}/all.txt": f"text {i}" for i in range(30)},
    }
    assert list((out / ".vidflow/slow").glob("parts-*")) == []
