"""Fixtures for all rooms: videos whose frames show their own numbers, and the odd files of ``odd_media.py``."""

import gc
import importlib.util
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is marked ``long``, unless asked for."""
    if os.environ.get("VIDFLOW_LONG", "0") == "0":
        for item in items:
            if item.get_closest_marker("long") is not None:
                item.add_marker(pytest.mark.skip(reason="long; VIDFLOW_LONG=1 runs it"))


def pytest_collection_finish() -> None:
    """Spare what is imported by now the searches for garbage: every run of the engine asks for one."""
    gc.collect()
    gc.freeze()


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_media = _load("odd_media")
_servers = _load("faulty_servers")


class OddMedia(Mapping[str, Path]):
    """Name -> file, written when it is first asked for; ``good`` and ``bad`` are the names."""

    good = tuple(_media.GOOD)
    bad = tuple(_media.BAD)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, name: str) -> Path:
        path = self._folder / name
        if not path.exists():
            write = _media.GOOD.get(name) or _media.BAD[name]
            write(path)
        return path

    def __iter__(self) -> Iterator[str]:
        return iter((*self.good, *self.bad))

    def __len__(self) -> int:
        return len(self.good) + len(self.bad)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``good_name`` and ``bad_name`` run a test once per odd file."""
    for argument, names in (("good_name", OddMedia.good), ("bad_name", OddMedia.bad)):
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, names)


@pytest.fixture(scope="session")
def odd_media(tmp_path_factory: pytest.TempPathFactory) -> OddMedia:
    """The odd files by name; see ``odd_media.py`` for what is in each."""
    return OddMedia(tmp_path_factory.mktemp("odd_media"))


@pytest.fixture(scope="session")
def numbered_video() -> Callable[..., Path]:
    """``numbered_video(path, num_frames, ...)`` writes a video whose frame i shows i; see ``odd_media.py``."""
    return _media.numbered_video


@pytest.fixture(scope="session")
def draw_number() -> Callable[[int, int, int], np.ndarray]:
    """``draw_number(height, width, number)`` -> uint8 [height, width, 3]."""
    return _media.draw_number


@pytest.fixture(scope="session")
def read_numbers() -> Callable[[np.ndarray], list[int]]:
    """``read_numbers(frames [N, H, W, 3])`` -> the numbers that the frames show."""
    return lambda frames: [_media.read_number(np.asarray(frame)) for frame in frames]


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers on this machine are asked directly, whatever proxy is set."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture
def file_server(no_proxy: None) -> Iterator[Any]:
    """A web server over bytes in memory, with faults on request; see ``faulty_servers.py``."""
    server = _servers.FileServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    """host:port of an S3 server in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert process.poll() is None, "the S3 server has ended; is moto[server] installed?"
            assert time.monotonic() < deadline, "the S3 server does not start"
            time.sleep(0.05)
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


class S3Bucket:
    """An empty bucket of a test; the AWS variables point at its server, or at a proxy before it."""

    def __init__(self, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
        import boto3

        self._address, self._monkeypatch = address, monkeypatch
        self._proxies: list[Any] = []
        for name, value in (
            ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_CONFIG_FILE", "/dev/null"), ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_ENDPOINT_URL", f"http://{address}"),
        ):  # fmt: skip
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        self.name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.client = boto3.client("s3", endpoint_url=f"http://{address}")
        self.client.create_bucket(Bucket=self.name)

    def root(self, prefix: str = "some/prefix") -> str:
        return f"s3://{self.name}/{prefix}"

    def put(self, files: Mapping[str, bytes], prefix: str = "some/prefix") -> str:
        """Store some objects, and give their root."""
        for name, data in files.items():
            self.client.put_object(Bucket=self.name, Key=f"{prefix}/{name}", Body=data)
        return self.root(prefix)

    def files(self, prefix: str = "some/prefix") -> dict[str, bytes]:
        """Name -> content of all objects below a prefix."""
        found = self.client.list_objects_v2(Bucket=self.name, Prefix=f"{prefix}/").get("Contents", [])
        get = self.client.get_object
        return {f["Key"].removeprefix(f"{prefix}/"): get(Bucket=self.name, Key=f["Key"])["Body"].read() for f in found}

    def clear(self, prefix: str) -> None:
        """Remove all objects below a prefix."""
        for name in self.files(prefix):
            self.client.delete_object(Bucket=self.name, Key=f"{prefix}/{name}")

    def through_proxy(self, *, rate: float = 0.0, seed: int = 0) -> Any:
        """Put a proxy before the server that spoils a share of the answers; for us and for the processes we start."""
        proxy = _servers.FaultyProxy(self._address, rate=rate, seed=seed)
        self._proxies.append(proxy)
        self._monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        return proxy

    def close(self) -> None:
        for proxy in self._proxies:
            proxy.stop()


@pytest.fixture
def s3(s3_address: str, monkeypatch: pytest.MonkeyPatch, no_proxy: None) -> Iterator[S3Bucket]:
    """An empty S3 bucket on a real server."""
    bucket = S3Bucket(s3_address, monkeypatch)
    yield bucket
    bucket.close()
