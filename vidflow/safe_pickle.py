"""Reading pickles of other projects without running what they hold.

A pickle names the classes and functions that its content is made of. Here a name is looked up in a short table and
nowhere else:

- plain containers, numbers, strings, NumPy arrays and scalars, and torch tensors are made;
- the logs and settings that mmengine, OmegaConf, Lightning and argparse leave in checkpoints become empty
  placeholders (``Inert``),
  since files would be unreadable otherwise although nobody needs that part;
- everything else stops the reading, by its dotted name, before it is looked up.

``torch.load(weights_only=True)`` has the same idea, but refuses mmengine's checkpoints, and versions of torch before
2.6 could be tricked through it by the tar format (CVE-2025-32434), which is refused here.
"""

import collections
import io
import pickle
import re
import tarfile
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vidflow.errors import DataError, VidflowError, WeightsError


class Inert:
    """Stands for an object of a class that is not loaded; whatever the pickle puts into it is dropped."""

    def __new__(cls, *_: object, **__: object) -> "Inert":
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass

    def __setitem__(self, _: object, __: object) -> None:
        pass

    def append(self, _: object) -> None:
        """A list's item, dropped."""

    def extend(self, _: object) -> None:
        """A list's items, dropped."""

    def add(self, _: object) -> None:
        """A set's item, dropped."""


class _RefusedError(Exception):
    """The pickle holds something that is not admitted; the text says what."""


class _ArrayType:
    """What ``numpy.ndarray`` is in a pickle: a marker, so that nothing can call the constructor."""


def _dtype(spec: object, align: object = False, copy: object = True) -> np.dtype[Any]:
    if not isinstance(spec, str) or np.dtype(spec).kind not in "biufcSUOmM" or np.dtype(spec).subdtype is not None:
        raise _RefusedError(f"the NumPy type {spec!r}")
    return np.dtype(spec, copy=True)  # type: ignore[call-overload, no-any-return]


def _reconstruct(kind: object, _: object, __: object) -> np.ndarray:
    if kind is not _ArrayType:
        raise _RefusedError(f"a NumPy array of type {kind!r}")
    return np.ndarray.__new__(np.ndarray, (0,), "b")  # its state follows


def _scalar(dtype: object, data: object) -> object:
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise _RefusedError(f"a NumPy scalar of type {dtype!r}")
    raw = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(raw, dtype, count=1)[0]  # type: ignore[call-overload]


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    return np.frombuffer(data, dtype=dtype).reshape(shape, order=order).copy()


def _latin1(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise _RefusedError(f"_codecs.encode to {encoding!r}")
    return text.encode("latin1")


def _pickle_module() -> Any:
    """What ``torch.load`` takes for ``pickle``."""
    return types.SimpleNamespace(
        __name__="vidflow.safe_pickle",
        Unpickler=SafeUnpickler,
        load=lambda file, **options: SafeUnpickler(file, **options).load(),
    )


def _storage_from_bytes(data: object) -> object:
    """The numbers of a tensor that was pickled without ``torch.save``: a file of the older format within the pickle."""
    import torch

    if not isinstance(data, bytes) or data.startswith(_ZIP_START) or tarfile.is_tarfile(io.BytesIO(data)):
        raise _RefusedError("torch.storage._load_from_bytes of something else than a tensor's numbers")
    found = torch.load(io.BytesIO(data), map_location="cpu", pickle_module=_pickle_module(), weights_only=False)
    if not isinstance(found, torch.storage.TypedStorage):
        raise _RefusedError(f"torch.storage._load_from_bytes of a {type(found).__name__}")
    return found


def _inert_getattr(owner: object, name: object) -> type[Inert]:
    if not (isinstance(owner, type) and issubclass(owner, Inert)):
        raise _RefusedError("builtins.getattr")
    return _inert_class("getattr", str(name))


def _inert_class(module: str, name: str) -> type[Inert]:
    return type(name.rpartition(".")[2], (Inert,), {"__module__": module})


_ZIP_START = b"PK\x03\x04"
_NUMPY: dict[str, object] = {"_reconstruct": _reconstruct, "scalar": _scalar, "_frombuffer": _frombuffer}
_BUILTINS: tuple[type, ...] = (set, frozenset, list, dict, tuple, bytearray, complex, slice, int, float, bool)
# Dotted name -> what it becomes. Python 2's and NumPy 1's names of the same things are in MODULES.
ADMITTED: dict[str, object] = {
    **{f"builtins.{kind.__name__}": kind for kind in _BUILTINS},
    "collections.OrderedDict": collections.OrderedDict,
    "collections.defaultdict": collections.defaultdict,
    "_codecs.encode": _latin1,
    "builtins.getattr": _inert_getattr,
    "torch.storage._load_from_bytes": _storage_from_bytes,
    "numpy.ndarray": _ArrayType,
    "numpy.dtype": _dtype,
    **{f"numpy.multiarray.{name}": value for name, value in _NUMPY.items()},
    **{f"numpy.numeric.{name}": value for name, value in _NUMPY.items()},
}
MODULES = {"__builtin__": "builtins"} | {
    f"numpy.{core}.{module}": f"numpy.{module}" for core in ("core", "_core") for module in ("multiarray", "numeric")
}
# Looked up in torch only when a file names them.
TORCH_NAMES = re.compile(
    r"torch\.(?:Size|device|_utils\._rebuild_(?:tensor|tensor_v2|parameter)"
    r"|bool|u?int8|int(?:16|32|64)?|b?float16|float(?:32|64)?|complex(?:64|128)|half|double|short|long)"
)
# Logs and settings that training programs leave in their checkpoints.
INERT_MODULES = (
    "mmengine",
    "mmcv",
    "mmaction",
    "mmdet",
    "mmpose",
    "mmcls",
    "mmpretrain",
    "omegaconf",
    "pytorch_lightning",
    "lightning",
)
INERT_NAMES = frozenset({"argparse.Namespace", "typing.Any"})


class SafeUnpickler(pickle._Unpickler):  # type: ignore[name-defined, misc]
    """The standard library's unpickler in Python, with the table in place of imports.

    The Python version is used because its BUILD step, which sets the state of objects, can be restricted as well.
    """

    dispatch = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined]

    def find_class(self, module: str, name: str) -> Any:
        dotted = f"{MODULES.get(module, module)}.{name}"
        if dotted in ADMITTED:
            return ADMITTED[dotted]
        if TORCH_NAMES.fullmatch(dotted):
            import torch

            return getattr(torch._utils if module == "torch._utils" else torch, name)
        if module.split(".")[0] in INERT_MODULES or dotted in INERT_NAMES:
            return _inert_class(module, name)
        raise _RefusedError(dotted if module == "__builtin__" else f"{module}.{name}")

    def load_build(self) -> None:
        stack: list[Any] = self.stack  # type: ignore[attr-defined]
        state, target = stack.pop(), stack[-1]
        if isinstance(target, np.dtype):
            _check_dtype_state(target, state)
            target.__setstate__(state)  # type: ignore[attr-defined]
        elif isinstance(target, np.ndarray):
            target.__setstate__(state)
        elif isinstance(target, collections.OrderedDict):
            # Modules' state dicts carry `_metadata`, the only attribute that is known.
            target.__dict__.update(
                {k: v for k, v in state.items() if k == "_metadata"} if isinstance(state, dict) else {}
            )
        elif not isinstance(target, Inert):
            raise _RefusedError(f"a state for {type(target).__module__}.{type(target).__qualname__}")

    dispatch[pickle.BUILD[0]] = load_build  # type: ignore[assignment]


def _check_dtype_state(dtype: "np.dtype[Any]", state: Any) -> None:
    """A state may change the byte order and nothing else: flags and sizes of one's own would let arrays point
    anywhere."""
    order: Any = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]
    expected: Any = dtype.newbyteorder(order).__reduce__()[2]
    # The ninth entry, of times only, is their unit.
    if len(state) != len(expected) or tuple(state[2:8]) != tuple(expected[2:8]) or state[0] != expected[0]:
        raise _RefusedError(f"a NumPy type with the state {state!r}")


def _read(where: str, error: type[VidflowError], advice: str, read: Callable[[], object]) -> object:
    try:
        return read()
    except _RefusedError as refused:
        raise error(
            f"{where}: holds {refused}, which is not plain data and could run code; nothing was loaded. {advice}"
        ) from None
    except OSError as failure:
        raise error(f"{where}: {failure.strerror or failure}") from failure
    except Exception as failure:  # a damaged pickle can fail in any way
        raise error(
            f"{where}: not a readable pickle ({type(failure).__name__}: {failure}); is the file complete?"
        ) from failure


def load(source: str | Path | BinaryIO, *, where: str | None = None, error: type[VidflowError] = DataError) -> object:
    """The content of a pickle: containers, numbers, strings, NumPy arrays and torch tensors.

    Strings of Python 2 are read as latin-1.

    Args:
        source: file, or an open binary file.
        where: what to call it in messages.
        error: the class of the errors that are raised.

    Raises:
        DataError: the file is damaged, or holds anything else; nothing of it is run.
    """
    advice = "If you trust the file, open it where it was made and save its arrays alone"

    def read() -> object:
        if isinstance(source, (str, Path)):
            with Path(source).open("rb") as file:
                return SafeUnpickler(file, encoding="latin1").load()
        return SafeUnpickler(source, encoding="latin1").load()

    return _read(where or str(source), error, advice, read)


def load_torch(path: str | Path, *, error: type[VidflowError] = WeightsError) -> object:
    """The content of a file of ``torch.save`` (zip, or the format before torch 1.6), with tensors on the CPU.

    Args:
        error: the class of the errors that are raised.

    Raises:
        WeightsError: the file is damaged, is TorchScript or a tar, or holds anything but tensors and plain data
            (objects of ``INERT_MODULES`` come back as ``Inert``); nothing of it is run.
    """
    import torch

    path = Path(path)
    advice = (
        "If you trust the file, load it where it was made and save its weights alone: "
        "torch.save(checkpoint['state_dict'], path)"
    )

    def read() -> object:
        with path.open("rb") as file:
            is_zip = file.read(4) == _ZIP_START  # as torch.load tells the formats apart
        if is_zip:
            with zipfile.ZipFile(path) as archive:
                if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                    raise _RefusedError("a TorchScript program")
        elif tarfile.is_tarfile(path):
            raise _RefusedError("a tar archive (the format of torch before 0.2)")
        return torch.load(path, map_location="cpu", pickle_module=_pickle_module(), weights_only=False)

    return _read(str(path), error, advice, read)
