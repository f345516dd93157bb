"""The parameters of a TorchScript archive, without its program: the form in which CLIP's authors publish their weights.

An archive is a zip: code, a pickle of the module tree, and one file per storage. Here the tree is read with a table of
names of its own (see ``vidflow.safe_pickle``), in which modules are mere holders of attributes; the code is never
looked at. Format: torch 2.13, torch/csrc/jit/serialization and docs of ``torch.jit.save``.
"""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidflow.errors import WeightsError
from vidflow.safe_pickle import SafeUnpickler

_STORAGES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "BoolStorage": torch.bool,
}
_LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")


class _Module:
    """A module of the archive: its attributes by name."""

    def __init__(self) -> None:
        self.attributes: dict[str, object] = {}


def _items(items: object) -> object:
    return items


def _first(value: object, _: object) -> object:
    return value


class _TreeUnpickler(SafeUnpickler):
    """Reads a module tree; storages come from the archive."""

    dispatch = dict(SafeUnpickler.dispatch)

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}/data.pkl")))
        self._archive, self._root = archive, root

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "__torch__":
            return _Module
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch.jit._pickle" and name in _LISTS:
            return _items
        if module == "torch.jit._pickle" and name == "restore_type_tag":
            return _first
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> torch.storage.TypedStorage:
        """A storage by its key, such as ("storage", torch.float16, "12", "cpu", 768)."""
        _, dtype, key, _, count = pid
        data = bytearray(self._archive.read(f"{self._root}/data/{key}"))
        if len(data) < count * dtype.itemsize:
            raise ValueError(f"storage {key} has {len(data)} bytes and should have {count * dtype.itemsize}")
        values = torch.frombuffer(data, dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)
        return torch.storage.TypedStorage(wrap_storage=values.untyped_storage(), dtype=dtype, _internal=True)

    def load_build(self) -> None:
        stack: list[Any] = self.stack  # type: ignore[attr-defined]
        if isinstance(stack[-2], _Module):
            state = stack.pop()
            stack[-1].attributes = state if isinstance(state, dict) else {}
        else:
            super().load_build()

    dispatch[pickle.BUILD[0]] = load_build  # type: ignore[assignment]


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Parameters and buffers by their dotted names, on the CPU.

    Raises:
        WeightsError: the archive is damaged, or its tree holds anything but modules, tensors and plain data.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("/data.pkl")
            tree = _TreeUnpickler(archive, root).load()
    except Exception as error:  # a damaged archive can fail in any way
        raise WeightsError(f"{path}: no readable TorchScript archive ({type(error).__name__}: {error})") from error
    found: dict[str, Tensor] = {}

    def collect(module: _Module, prefix: str) -> None:
        for name, value in module.attributes.items():
            if isinstance(value, Tensor):
                found[f"{prefix}{name}"] = value.detach()
            elif isinstance(value, _Module):
                collect(value, f"{prefix}{name}.")

    if isinstance(tree, _Module):
        collect(tree, "")
    if not found:
        raise WeightsError(f"{path}: the TorchScript archive holds no parameters")
    return found
