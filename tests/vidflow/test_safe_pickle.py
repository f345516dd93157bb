"""Which pickles are read, which are refused, and that none of them runs anything."""

import argparse
import builtins
import io
import os
import pickle
import sys
import tarfile
import types
from collections import OrderedDict, defaultdict

import numpy as np
import pytest
import torch

from vidflow import safe_pickle
from vidflow.errors import DataError, WeightsError

ARRAYS = {
    "float": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "big endian": np.arange(3, dtype=">i4"),
    "half": np.ones(3, np.float16),
    "bool": np.array([True, False]),
    "text": np.array(["a", "bcd"]),
    "objects": np.array([{"a": 1}, None, "x"], dtype=object),
    "no axis": np.array(3.5),
    "time": np.array(["2020-01-01"], dtype="M8[D]"),
}


class Calls:
    """Pickled as a call of any function with any arguments."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back_as_they_were(name, protocol):
    data = pickle.dumps({"x": ARRAYS[name]}, protocol)
    got = safe_pickle.load(io.BytesIO(data))["x"]
    # NumPy turns arrays of the other byte order into the machine's own.
    assert (got.dtype, got.shape) == (pickle.loads(data)["x"].dtype, ARRAYS[name].shape)
    np.testing.assert_array_equal(got, ARRAYS[name])


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_comes_back_as_it_was(protocol):
    value = {
        "a": [1, 2.5, None, True, "ü", b"\xff", 10**30], "t": (1, (2,)), "s": {1, 2}, "f": frozenset("x"), "c": 1 + 2j,
        "o": OrderedDict(b=1), "d": defaultdict(list, k=[1]), "n": np.float64(0.25), "i": np.int32(7),
        "b": bytearray(b"x"), "l": slice(1, 2),
    }  # fmt: skip
    got = safe_pickle.load(io.BytesIO(pickle.dumps(value, protocol)))
    assert got == value
    assert got["d"]["new"] == []


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_tensors_in_a_plain_pickle_come_back_as_they_were(kind, protocol):
    value = torch.arange(12).reshape(3, 4).to(kind)
    got = safe_pickle.load(io.BytesIO(pickle.dumps([{"whole": value, "part": value[1:, ::2]}, value], protocol)))
    assert got[0]["whole"].dtype == kind
    torch.testing.assert_close(got[0]["whole"], value)
    torch.testing.assert_close(got[0]["part"], value[1:, ::2])
    torch.testing.assert_close(got[1], value)


def saved(value: object, *, zip_format: bool) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zip_format)
    return file.getvalue()


def tar_archive() -> bytes:
    file = io.BytesIO()
    tarfile.open(fileobj=file, mode="w").close()
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (saved(torch.ones(2), zip_format=True), "something else than a tensor's numbers"),
        (tar_archive(), "something else than a tensor's numbers"),
        ("text", "something else than a tensor's numbers"),
        (saved([1, 2], zip_format=False), "a list"),
    ],
)
def test_only_a_tensors_numbers_are_read_where_they_should_be(data, what):
    with pytest.raises(DataError, match=f"torch.storage._load_from_bytes of {what}"):
        safe_pickle.load(io.BytesIO(pickle.dumps({"x": Calls(torch.storage._load_from_bytes, data)})))


def test_a_tensor_that_is_cut_short_in_a_pickle_says_so():
    data = saved(torch.arange(100.0)._typed_storage(), zip_format=False)
    pickled = pickle.dumps(Calls(torch.storage._load_from_bytes, data[:-50]))
    with pytest.raises(DataError, match="not a readable pickle"):
        safe_pickle.load(io.BytesIO(pickled))


def test_pickles_of_python_2_come_back_with_latin1_strings():
    data = (
        b"\x80\x02}q\x00U\x01aq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04(K\x01K\x02\x85"
        b"cnumpy\ndtype\nq\x05U\x02u1K\x00K\x01\x87Rq\x06(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x02\xff\x01tbs."
    )
    got = safe_pickle.load(io.BytesIO(data))
    np.testing.assert_array_equal(got["a"], np.array([255, 1], np.uint8))


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "marker"


def touching(marker):
    """Objects whose unpickling by the standard library would make the marker file."""
    return {
        f"{os.system.__module__}.system": Calls(os.system, f"touch {marker}"),
        "builtins.exec": Calls(exec, f"open({str(marker)!r}, 'w')"),
        "io.open": Calls(open, str(marker), "w"),
        # Where a tensor's numbers should be.
        f"{os.mkdir.__module__}.mkdir": Calls(
            torch.storage._load_from_bytes, pickle.dumps(Calls(os.mkdir, str(marker)))
        ),
        "numpy.fromfile": Calls(np.fromfile, str(marker)),
    }


@pytest.mark.parametrize("name", touching("x"))
def test_a_call_is_refused_by_name_and_not_run(name, marker):
    data = pickle.dumps({"x": touching(marker)[name]})
    with pytest.raises(DataError, match=f"holds {name}, which is not plain data"):
        safe_pickle.load(io.BytesIO(data), where="x.pkl")
    assert not marker.exists()


@pytest.mark.parametrize("zip_format", [True, False])
@pytest.mark.parametrize("name", touching("x"))
@pytest.mark.parametrize("place", ["state_dict", "meta"])
def test_a_checkpoint_with_a_call_anywhere_is_refused_and_not_run(place, name, zip_format, marker, tmp_path):
    content = {"state_dict": {"w": torch.ones(2)}, "meta": {}}
    content[place]["x"] = touching(marker)[name]
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=zip_format)
    with pytest.raises(WeightsError, match=rf"evil\.pth: holds {name}, which is not plain data.*torch\.save"):
        safe_pickle.load_torch(tmp_path / "evil.pth")
    assert not marker.exists()


def test_the_markers_would_appear_in_the_standard_library(marker):
    pickle.loads(pickle.dumps(touching(marker)["builtins.exec"]))
    assert marker.exists()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93.", "collections.OrderedDict.__init__"),
        (b"cbuiltins\ngetattr\n(cbuiltins\nlist\nS'append'\ntR.", "builtins.getattr"),
        (b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.", "_codecs.encode to 'rot13'"),
        (b"cnumpy\ndtype\n(S'i4,f4'\ntR.", "the NumPy type 'i4,f4'"),
        (b"cnumpy\ndtype\n(cbuiltins\nlist\ntR.", "the NumPy type"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(cbuiltins\nlist\n(I0\ntS'b'\ntR.", "a NumPy array of type"),
        # An object type whose flags deny that it holds pointers.
        (b"cnumpy\ndtype\n(S'O8'\nI00\nI01\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb.", "a NumPy type with the state"),
        (b"cbuiltins\nset\n(tR}b.", "a state for builtins.set"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n}b.", "a state for builtins.function"),
        (b"cos.path\njoin\n.", "os.path.join"),
        (b"c__builtin__\neval\n.", "builtins.eval"),
    ],
)
def test_crafted_pickles_are_refused(data, what):
    with pytest.raises(DataError) as caught:
        safe_pickle.load(io.BytesIO(data))
    assert f"holds {what}" in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"hello", pickle.dumps([1, 2])[:-3], b"\x80\x04\x93.", pickle.dumps(np.arange(100))[:60]]
)
def test_damaged_pickles_say_so(data):
    with pytest.raises(DataError, match=r"x\.pkl: not a readable pickle"):
        safe_pickle.load(io.BytesIO(data), where="x.pkl")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.pkl: No such file"):
        safe_pickle.load(tmp_path / "none.pkl")
    with pytest.raises(WeightsError, match=r"none\.pth: No such file"):
        safe_pickle.load_torch(tmp_path / "none.pth")


@pytest.mark.parametrize("zip_format", [True, False])
def test_both_formats_of_torch_give_the_tensors_back(zip_format, tmp_path):
    base = torch.arange(6.0)
    content = {
        "w": torch.randn(2, 3), "half": torch.ones(2, dtype=torch.float16), "bf16": torch.ones(1, dtype=torch.bfloat16),
        "count": torch.tensor(3),
"view": base[1:4], "strided": base.view(2, 3).t(),
        "parameter": torch.nn.Parameter(torch.ones(2)), "dtype": torch.float32, "size": torch.Size([2]),
        "module": torch.nn.BatchNorm2d(3).state_dict(), "numbers": np.arange(3),
    }  # fmt: skip
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zip_format)
    got = safe_pickle.load_torch(tmp_path / "x.pth")
    for name in ("w", "half", "bf16", "count", "view", "strided", "parameter"):
        torch.testing.assert_close(got[name], content[name], rtol=0, atol=0)
    assert (got["dtype"], got["size"]) == (torch.float32, torch.Size([2]))
    assert list(got["module"]) == list(content["module"])
    np.testing.assert_array_equal(got["numbers"], content["numbers"])


@pytest.fixture
def history_buffer(monkeypatch):
    """A class like mmengine's, which is there while a file is written and gone when it is read."""
    module = types.ModuleType("mmengine.logging.history_buffer")

    class HistoryBuffer:
        def __init__(self):
            self.max_length, self._log_history = 1000, np.arange(3.0)

        def min(self):
            return 0

    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, "HistoryBuffer"
    HistoryBuffer.min.__qualname__, HistoryBuffer.min.__module__ = "HistoryBuffer.min", module.__name__
    module.HistoryBuffer = HistoryBuffer
    for name in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return HistoryBuffer


@pytest.mark.parametrize("zip_format", [True, False])
def test_logs_of_mmengine_become_placeholders_and_the_weights_are_read(
    zip_format, history_buffer, tmp_path, monkeypatch
):
    buffer = history_buffer()
    buffer.statistics = {"min": history_buffer.min}  # pickled as builtins.getattr(HistoryBuffer, "min")
    content = {
        "message_hub": {"log_scalars": OrderedDict({"train/loss": buffer})},
        "args": argparse.Namespace(lr=0.1),
        "state_dict": OrderedDict(w=torch.ones(2)),
    }
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zip_format)
    for name in ("mmengine.logging.history_buffer", "mmengine.logging", "mmengine"):
        monkeypatch.delitem(sys.modules, name)
    got = safe_pickle.load_torch(tmp_path / "x.pth")
    torch.testing.assert_close(got["state_dict"]["w"], torch.ones(2))
    assert isinstance(got["message_hub"]["log_scalars"]["train/loss"], safe_pickle.Inert)
    assert isinstance(got["args"], safe_pickle.Inert)
    assert not vars(got["args"])
    assert "mmengine" not in sys.modules


def test_a_call_of_a_placeholder_runs_nothing(marker):
    data = b"cmmengine.fileio\ndump\n(S'" + str(marker).encode() + b"'\ntR."
    assert isinstance(safe_pickle.load(io.BytesIO(data)), safe_pickle.Inert)
    assert not marker.exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "x.pt")
    with pytest.raises(WeightsError, match="holds a TorchScript program"):
        safe_pickle.load_torch(tmp_path / "x.pt")


def test_the_old_tar_format_is_refused(tmp_path):
    import tarfile

    (tmp_path / "pickle").write_bytes(b"x")
    with tarfile.open(tmp_path / "x.pth", "w") as tar:
        tar.add(tmp_path / "pickle", "pickle")
    with pytest.raises(WeightsError, match="holds a tar archive"):
        safe_pickle.load_torch(tmp_path / "x.pth")


@pytest.mark.parametrize("zip_format", [True, False])
def test_a_cut_checkpoint_says_so(zip_format, tmp_path):
    torch.save({"w": torch.ones(1000)}, tmp_path / "x.pth", _use_new_zipfile_serialization=zip_format)
    data = (tmp_path / "x.pth").read_bytes()
    (tmp_path / "x.pth").write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsError, match=r"x\.pth: not a readable pickle .*is the file complete"):
        safe_pickle.load_torch(tmp_path / "x.pth")


def test_nothing_in_the_table_gives_access_to_anything_else():
    reachable = {
        value
        for value in safe_pickle.ADMITTED.values()
        if getattr(value, "__module__", "").startswith(("os", "sys", "subprocess"))
    }
    assert not reachable
    assert not {getattr(builtins, n) for n in ("eval", "exec", "open", "getattr", "__import__", "compile")} & set(
        safe_pickle.ADMITTED.values()
    )
