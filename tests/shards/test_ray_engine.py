"""``--engine ray`` on a cluster of two nodes on this machine: the bytes of local workers, whatever dies."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import node_work
import pytest

from vidflow.errors import ConfigError, MissingExtraError, StorageError
from vidflow.shards.engines import LocalEngine
from vidflow.shards.order import order_tasks
from vidflow.shards.pack import PackOptions, pack
from vidflow.shards.prepare import Prepared, Refused, Task, prepare
from vidflow.shards.profiles import PROFILES
from vidflow.shards.ray_engine import RayEngine
from vidflow.shards.ray_work import Job, landed, settings, versions, work
from vidflow.shards.sources.items import SourceItem
from vidflow.shards.workers import Crash, Failure

SUPPORT = str(Path(node_work.__file__).parent)  # nodes must be able to import from there
needs_ray = [pytest.mark.slow, pytest.mark.timeout(180)]


class TwoNodes:
    """A Ray cluster of a head and one more node, with one CPU each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        options = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args=options)
        self.second = self.cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
        self.engine = RayEngine(address=self.cluster.address)

    def kill_second(self) -> None:
        """As if its plug was pulled."""
        if self.second is not None:
            self.cluster.remove_node(self.second, allow_graceful=False)
            self.second = None

    def mend(self) -> None:
        if self.second is None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("PYTHONPATH", SUPPORT)
                self.second = self.cluster.add_node(num_cpus=1, object_store_memory=100 << 20)


@pytest.fixture(scope="module")
def made_nodes() -> Iterator[TwoNodes]:
    pytest.importorskip("ray", reason="Ray is not installed; pip install 'vidflow[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", SUPPORT)
        nodes = TwoNodes()
    yield nodes
    nodes.cluster.shutdown()


@pytest.fixture
def nodes(made_nodes) -> TwoNodes:
    made_nodes.mend()
    return made_nodes


def tasks_of(*ids: str, folder: Path = Path("/nowhere")) -> list[Task]:
    return order_tasks([SourceItem(str(folder / id), id, "train", (0,)) for id in ids], seed=0, shuffle=False)


def answers(engine, function, tasks, staging) -> list[tuple[int, object]]:
    with closing(engine.run(function, tasks, staging=staging)) as results:
        return [(task.ordinal, answer) for task, answer in results]


class Holding:
    """An engine of which one node does not come to an end with a task, see ``node_work.hold``."""

    def __init__(self, engine: RayEngine, node_id: str, marker: Path) -> None:
        self.engine, self.options = engine, {"node_id": node_id, "marker": str(marker)}

    def run(self, function, tasks, *, staging):
        return self.engine.run(partial(node_work.hold, function=function, **self.options), tasks, staging=staging)


class TestOnTwoNodes:
    pytestmark = needs_ray

    def test_answers_keep_the_order_and_both_nodes_work(self, nodes, tmp_path):
        found = answers(nodes.engine, node_work.node_of, tasks_of(*map(str, range(40))), tmp_path)
        assert [ordinal for ordinal, _ in found] == list(range(40))
        assert [int(answer.reason.split()[0]) for _, answer in found] == list(range(40))
        assert len({answer.reason.split()[1] for _, answer in found}) == 2

    @pytest.mark.parametrize("profile", ["copy", "intra"])
    def test_the_bytes_are_those_of_local_workers(self, profile, nodes, items, files_of, tmp_path):
        source = items(10)
        Path(source.items[4].path).write_bytes(b"broken")
        options = PackOptions(profile=PROFILES[profile], max_count=3)
        pack(source, tmp_path / "local", options, workers=1)
        report = pack(source, tmp_path / "ray", options, engine=nodes.engine)
        assert (report.packed, len(report.rejected)) == (9, 1)
        assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")

    def test_a_node_that_dies_midway_leaves_no_trace(self, nodes, items, files_of, tmp_path, caplog):
        source = items(40)
        options = PackOptions(profile=PROFILES["intra"], max_count=6)
        pack(source, tmp_path / "local", options, workers=2)
        marker = tmp_path / "marker"
        settled: list[int] = []
        engine = Holding(nodes.engine, nodes.second.node_id, marker)

        def kill_once_it_works() -> None:
            while not marker.exists():
                time.sleep(0.01)
            nodes.kill_second()

        killer = threading.Thread(target=kill_once_it_works, daemon=True)
        killer.start()
        with caplog.at_level(logging.INFO, "vidflow.shards.ray_engine"):
            pack(source, tmp_path / "ray", options, engine=engine, on_progress=settled.append)
        killer.join()
        assert settled == list(range(41))
        assert nodes.second is None
        assert caplog.records  # of what was lost with the node
        assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")

    def test_a_sample_that_kills_is_rejected_as_with_local_workers(self, nodes, tmp_path):
        tasks = tasks_of("a", "b", "deadly", "c", "d")
        found = answers(nodes.engine, node_work.kill_over_id, tasks, tmp_path)
        assert found == answers(LocalEngine(1), node_work.kill_over_id, tasks, tmp_path)
        assert found[2] == (2, Crash(-signal.SIGSEGV))

    def test_a_sample_whose_process_was_killed_once_is_tried_again(self, nodes, tmp_path):
        found = answers(nodes.engine, node_work.kill_once, tasks_of("marker", folder=tmp_path), tmp_path)
        assert found == [(0, Refused("probe", "marker"))]

    def test_what_was_made_on_a_node_comes_along(self, nodes, tmp_path):
        found = answers(nodes.engine, node_work.write_staged, tasks_of(*"abcd"), tmp_path)
        for ordinal, answer in found:
            assert isinstance(answer, Prepared)
            assert answer.staged is None
            (member,) = answer.contents.members
            assert bytes(member.data) == bytes([ordinal]) * (ordinal << 20)
        assert list(tmp_path.iterdir()) == []

    def test_a_users_error_stays_itself_and_a_bug_keeps_its_traceback(self, nodes, tmp_path):
        with pytest.raises(StorageError, match="server down"):
            answers(nodes.engine, node_work.fail, tasks_of("users"), tmp_path)
        with pytest.raises(RuntimeError, match=r"in fail[\s\S]*ZeroDivisionError: seven"):
            answers(nodes.engine, node_work.fail, tasks_of("ours"), tmp_path)

    def test_a_long_list_is_not_sent_ahead_without_bound(self, nodes, tmp_path):
        drawn: list[int] = []

        class Tasks(list):
            def __iter__(self):
                for task in list.__iter__(self):
                    drawn.append(task.ordinal)
                    yield task

        with closing(
            nodes.engine.run(node_work.node_of, Tasks(tasks_of(*map(str, range(500)))), staging=tmp_path)
        ) as results:
            next(results)
            assert len(drawn) < 50

    def test_the_command_packs_on_the_cluster(self, nodes, tree, command, files_of, tmp_path):
        source = tree(*(f"train/{name}/{i}.mp4" for i, name in enumerate("abab")))
        local = command("shard", "--src", source, "--out", tmp_path / "local")
        ray = command(
            "shard", "--src", source, "--out", tmp_path / "ray",
            "--engine", "ray", "--ray-address", nodes.cluster.address, "--workers", "1",
        )  # fmt: skip
        assert ray.returncode == 0, ray.stderr
        assert (ray.stdout.replace("ray", "local"), ray.stderr) == (local.stdout, local.stderr)
        assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")


@pytest.mark.slow
def test_an_address_without_a_cluster_is_named(items, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed; pip install 'vidflow[ray]'")
    with pytest.raises(ConfigError, match=r"--ray-address 127.0.0.1:1: no Ray cluster can be used there"):
        pack(items(1), tmp_path / "out", PackOptions(), engine=RayEngine(address="127.0.0.1:1"))
    assert not (tmp_path / "out").exists()


def test_without_ray_the_extra_is_named(items, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"--engine ray needs Ray; pip install 'vidflow\[ray\]'"):
        pack(items(1), tmp_path / "out", PackOptions(), engine=RayEngine())
    assert not (tmp_path / "out").exists()


def test_a_cluster_without_ray_as_the_engine_is_refused(command, tmp_path):
    done = command("shard", "--src", tmp_path, "--out", tmp_path / "out", "--ray-address", "auto")
    assert done.returncode == 2
    assert "--ray-address auto: needs --engine ray" in done.stderr


def test_no_task_at_once_is_refused():
    with pytest.raises(ConfigError, match="--workers 0: must be at least 1"):
        RayEngine(workers=0)


@pytest.fixture
def job() -> Job:
    function = partial(prepare, profile=PROFILES["copy"], on_damage="error")
    return Job(function=function, versions=versions(), settings={})


def test_a_node_with_other_versions_is_named(job):
    other = replace(job, versions=job.versions | {"libavcodec": "1.2.3"})
    answer, blobs = work(other, tasks_of("a")[0], False, "10.0.0.7")
    assert isinstance(answer, Failure)
    assert blobs is None
    with pytest.raises(ConfigError, match=r"10.0.0.7 has libavcodec \d.*, this machine has libavcodec 1.2.3; install"):
        raise answer.raised("a node")


def test_a_source_that_the_writing_machine_sees_otherwise_is_refused(job, items):
    item = items(1).items[0]
    task = Task(0, "000000", item)
    answer, blobs = work(job, task, False, "node")
    assert isinstance(answer, Prepared)
    assert landed(answer, blobs) == answer
    (member,) = answer.contents.members
    other_inode = replace(member, state=replace(member.state, inode=7))
    moved = Prepared(replace(answer.contents, members=(other_inode,)))
    assert landed(moved, None) == answer
    with Path(item.path).open("ab") as file:
        file.write(b"more")
    assert landed(answer, blobs) == Refused("copy", "has changed while it was packed")
    Path(item.path).unlink()
    assert landed(answer, blobs) == Refused("copy", "cannot be opened again (No such file or directory)")


def test_secrets_are_not_sent_to_the_nodes(monkeypatch):
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://host")
    monkeypatch.setenv("VIDFLOW_S3_UNSIGNED", "1")
    assert settings()["AWS_ENDPOINT_URL"] == "http://host"
    assert settings()["VIDFLOW_S3_UNSIGNED"] == "1"
    assert "secret" not in settings().values()
