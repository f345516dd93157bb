"""Batches for the models' tests, and the weights and inputs behind the reference outputs of tests/data/parity.

A reference names its tensors and the rule of each one's values, so that the weights need not be stored. Each value
follows from the tensor's name and shape alone: u(name, shape) is uniform in [-1, 1), drawn by NumPy's default
generator seeded with the CRC-32 of the name.
"""

import base64
import gzip
import json
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidflow.batch import Batch
from vidflow.models.weights import load_weights


class Reference:
    """One reference file: what MMAction2 1.2.0 computes for given weights and inputs."""

    def __init__(self, path: Path) -> None:
        with gzip.open(path, "rt") as file:
            self.values: dict[str, Any] = json.load(file)
        self.num_params: int = self.values["params"]

    @staticmethod
    def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
        return np.random.default_rng(zlib.crc32(name.encode())).random(shape, dtype=np.float32) * 2 - 1

    def _tensor(self, name: str, shape: list[int], rule: str, *values: Any) -> np.ndarray | None:
        match rule:
            case "u":
                offset, scale = np.float32(values[0]), np.float32(values[1])
                return (offset + scale * self.uniform(name, tuple(shape))).astype(np.float32)
            case "const":
                return np.full(shape, values[0], np.float32)
            case "raw":
                return np.asarray(values[0], np.float32).reshape(shape)
            case "raw_i":
                return np.asarray(values[0], np.int64).reshape(shape)
            case "f32":
                return np.frombuffer(base64.b64decode(values[0]), "<f4").reshape(shape).copy()
            case "built":
                return None
        raise AssertionError(f"{name}: unknown rule {rule!r}")

    def state_dict(self) -> "OrderedDict[str, Tensor]":
        """The reference's weights under its own names; float32."""
        arrays = {name: self._tensor(name, *spec) for name, spec in self.values["tensors"].items()}
        return OrderedDict(
            (name, torch.from_numpy(np.asarray(array))) for name, array in arrays.items() if array is not None
        )

    def checkpoint(self) -> dict[str, object]:
        """The weights as MMAction2 saves them."""
        meta = {"mmengine_version": "0.10.7", "epoch": 50, "experiment_name": self.values["config"], "dataset_meta": {}}
        return {"meta": meta, "state_dict": self.state_dict()}

    def load_into(self, model: nn.Module, folder: Path) -> tuple[nn.Module, Tensor]:
        """Our model with these weights, which must fit it whole, and its input; both in the reference's precision.

        float32 for references in float32, whose tolerance leaves room for it: it halves the memory of large models.

        Args:
            folder: for the file that goes through our conversion.
        """
        torch.save(self.checkpoint(), folder / "reference.pth")
        report = load_weights(model, folder / "reference.pth", mode="strict")
        assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())
        assert report.origin == "mmaction2"
        assert sum(p.numel() for p in model.parameters()) == self.num_params
        dtype = torch.float64 if self.values.get("dtype") == "float64" else torch.float32
        return model.to(dtype).eval(), self.input().to(dtype)

    def input(self, number: int = 0) -> Tensor:
        """One of the inputs, float32: a coarse random field, finer noise, and an offset per sample."""
        spec = self.values["inputs"][number]
        shape, seed = tuple(spec["shape"]), spec["seed"]
        lead, size = shape[:-2], shape[-2:]
        field = self.uniform(f"input{seed}.coarse", (*lead, *(-(-side // 16) or 1 for side in size)))
        for axis, side in zip((-2, -1), size, strict=True):
            field = np.take(field, np.arange(side) * field.shape[axis] // side, axis=axis)
        offset = self.uniform(f"input{seed}.offset", (shape[0],) + (1,) * (len(shape) - 1))
        noise = self.uniform(f"input{seed}.fine", shape)
        return torch.from_numpy(np.float32(3**0.5) * (field + np.float32(0.5) * noise + offset))

    def assert_output(self, output: Tensor) -> None:
        """Equal to the reference: all values within 2e-5 of max(1, standard deviation), or 1e-3 where it ran in
        float32."""
        expected = self.values["outputs"]
        assert list(output.shape) == expected["shape"]
        tolerance = (2e-5 if self.values.get("dtype") == "float64" else 1e-3) * max(1.0, expected["std"])
        values = torch.tensor(expected["values"], dtype=torch.float64)
        assert len(values) > 50  # of the smallest set of classes, HMDB51
        torch.testing.assert_close(output.double().flatten()[:: expected["stride"]], values, rtol=0, atol=tolerance)
        assert abs(output.double().mean().item() - expected["mean"]) < tolerance


@pytest.fixture
def with_full_graph() -> Callable[[nn.Module], nn.Module]:
    """Sets a model's graph convolutions to work fully: those of 2s-AGCN and CTR-GCN start at 1e-6 of what they compute,
    and without the part of it that the sample decides, so that tests would not see either."""

    def fill(model: nn.Module) -> nn.Module:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith(("graph.alpha", "graph.bn.weight")):
                    parameter.fill_(1)
        return model

    return fill


@pytest.fixture
def load_reference() -> Callable[[Path], Reference]:
    return Reference


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """A batch of noise: ``make_batch(num_samples, labels=..., views=1, channels=3, frames=4, size=32)``."""

    def make(
        num_samples: int,
        labels: Tensor | None = None,
        *,
        views: int = 1,
        channels: int = 3,
        frames: int = 4,
        size: int = 32,
        seed: int = 0,
    ) -> Batch:
        clips = torch.randn(
            num_samples, views, channels, frames, size, size, generator=torch.Generator().manual_seed(seed)
        )
        return Batch(
            ids=[str(i) for i in range(num_samples)],
            indices=torch.arange(num_samples),
            inputs={"clips": clips},
            targets={"labels": torch.zeros(num_samples, dtype=torch.int64) if labels is None else labels},
            padding=torch.zeros(num_samples, dtype=torch.bool),
        )

    return make


@pytest.fixture
def as_mmaction2() -> Callable[..., "OrderedDict[str, Tensor]"]:
    """Our state dict of TSN or TSM under MMAction2's names: ``as_mmaction2(state, shifted=True)`` for TSM's."""

    def rename(state: dict[str, Tensor], *, shifted: bool) -> "OrderedDict[str, Tensor]":
        renamed = OrderedDict()
        for name, tensor in state.items():
            parts = name.split(".")
            match parts:
                case ["head", "fc", kind]:
                    parts = ["cls_head", "fc_cls", kind]
                case [*lead, "downsample", number, kind]:
                    parts = [*lead, "downsample", ("conv", "bn")[int(number)], kind]
                case [*lead, layer, kind] if layer.startswith("bn"):
                    parts = [*lead, f"conv{layer[2:]}", "bn", kind]
                case [*lead, layer, kind]:
                    wrapped = ["net"] if shifted and layer == "conv1" and len(lead) > 1 else []
                    parts = [*lead, layer, "conv", *wrapped, kind]
            renamed[".".join(parts)] = tensor.clone()
        return renamed

    return rename
