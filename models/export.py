"""A model as one file that runs without vidflow: a program of ``torch.export``, or ONNX.

The file's function takes what a model takes of a batch, by name, and gives class scores before softmax or sigmoid. The
numbers of samples and views stay open; all other sizes are those of the example. A model is exported in evaluation.

Shapes: B samples, V views, K classes.
"""

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vidflow.batch import Batch
from vidflow.errors import ExportError, MissingExtraError, StorageError

Format = Literal["torch", "onnx"]
ENDINGS: dict[Format, str] = {"torch": ".pt2", "onnx": ".onnx"}
METADATA = "vidflow.json"
"""Name of what ``about`` becomes: an extra file of torch.export, or metadata of ONNX."""
# Samples and views of the example, which is never computed: 0 and 1 would be taken for sizes that never change. And of
# the inputs with which a file is compared with its model.
_EXAMPLE, _CHECKED = (2, 3), ((1, 1), (2, 2))
_TOLERANCE = 1e-4
_LARGEST_ONNX_BYTES = 2**31 - 2**20


class Scores(nn.Module):
    """A model as the function from named inputs [B, V, ...] to class scores [B, V, K]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        rows = torch.zeros(0, dtype=torch.int64)
        scores: Tensor = self.model(Batch(ids=[], indices=rows, inputs=inputs, targets={}, padding=rows.bool()))
        return scores


def draw(shapes: Mapping[str, tuple[int, ...]], *, samples: int, views: int, seed: int = 0) -> dict[str, Tensor]:
    """Inputs of noise, float32 [``samples``, ``views``, *shape] each."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(samples, views, *shape, generator=generator) for name, shape in shapes.items()}


def largest_difference(found: Tensor, expected: Tensor) -> float:
    """Of two tensors of scores, as a part of the largest expected score; infinite where shapes differ or a value is no
    number."""
    if found.shape != expected.shape or not bool(found.isfinite().all()):
        return float("inf")
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30))


def export_model(
    model: nn.Module, out: Path, *, to: Format, shapes: Mapping[str, tuple[int, ...]], about: Mapping[str, Any]
) -> float:
    """Write a model's file once its scores are found equal to the model's; otherwise nothing is written.

    Args:
        model: with weights in float32 on the CPU; it is left in evaluation.
        out: the file; one that is there is replaced.
        shapes: name of an input -> its shape for one view of a sample, without B and V.
        about: what else a user of the file must know, for JSON.

    Returns:
        The largest difference of scores of noise, as a part of the largest score.

    Raises:
        ExportError: the model cannot be exported, or its file gives other scores than itself, with both reasons.
        MissingExtraError: ONNX without the extra.
        StorageError: the file cannot be written.
        ValueError: inputs of a shape that the model does not take.
    """
    if to == "onnx":
        _need_onnx()
    function, text = Scores(model.eval()), json.dumps(dict(about), ensure_ascii=False)
    with torch.no_grad(), _quiet():
        # A shape that does not fit is the model's to refuse, in its own words.
        function(draw(shapes, samples=1, views=1))
        program = _trace(function, draw(shapes, samples=_EXAMPLE[0], views=_EXAMPLE[1]), out)
        part = out.with_name(f".{os.getpid()}.part.{out.stem}{ENDINGS[to]}")
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            if to == "torch":
                torch.export.save(program, part, extra_files={METADATA: text})
            else:
                _write_onnx(program, part, out, list(shapes), text)
            difference = _check(part, function, shapes, out)
            part.replace(out)
        except OSError as error:
            raise StorageError(f"{out}: {error.strerror or error}") from error
        finally:
            part.unlink(missing_ok=True)
    return difference


def _trace(function: nn.Module, example: dict[str, Tensor], out: Path) -> torch.export.ExportedProgram:
    free = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in example}
    try:
        program = torch.export.export(function, (example,), dynamic_shapes={"inputs": free})
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        raise ExportError(f"{out}: torch.export does not take the model ({_first_line(error)})") from error
    program.example_inputs = None  # they would be stored, and may be larger than the weights
    return program


def _write_onnx(program: torch.export.ExportedProgram, part: Path, out: Path, inputs: list[str], about: str) -> None:
    num_bytes = sum(t.numel() * t.element_size() for t in (*program.state_dict.values(), *program.constants.values()))
    if num_bytes > _LARGEST_ONNX_BYTES:
        raise ExportError(f"{out}: the weights are {num_bytes} bytes, and an ONNX file holds 2 GiB; use --to torch")
    try:
        converted = torch.onnx.export(program, input_names=inputs, output_names=["scores"], dynamo=True, verbose=False)
    except torch.onnx.errors.OnnxExporterError as error:
        raise ExportError(f"{out}: torch.onnx does not take the model ({_first_line(error)})") from error
    assert converted is not None
    converted.model.metadata_props[METADATA] = about
    converted.save(part, external_data=False)


def _check(part: Path, function: nn.Module, shapes: Mapping[str, tuple[int, ...]], out: Path) -> float:
    """The largest difference between the file and the model."""
    run = open_exported(part)
    worst = 0.0
    for seed, (samples, views) in enumerate(_CHECKED, start=1):
        inputs = draw(shapes, samples=samples, views=views, seed=seed)
        difference = largest_difference(run(inputs), function(inputs))
        if difference > _TOLERANCE:
            raise ExportError(
                f"{out}: not written, the exported model gives other scores than the model itself "
                f"(they differ by {difference:.2g} of the largest for {samples} samples of {views} views)"
            )
        worst = max(worst, difference)
    return worst


def open_exported(path: Path) -> Callable[[dict[str, Tensor]], Tensor]:
    """The function of an exported file, from named inputs to scores; its name's ending tells the format.

    Raises:
        MissingExtraError: ONNX without the extra.
    """
    if path.suffix == ENDINGS["torch"]:
        module = torch.export.load(path).module()
        return lambda inputs: module(inputs)
    ort = _need_onnx()
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda inputs: torch.from_numpy(session.run(None, {k: v.numpy() for k, v in inputs.items()})[0])


def _need_onnx() -> Any:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # what torch.onnx writes with
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"ONNX needs {error.name}; pip install 'vidflow[onnx]'") from error
    return onnxruntime


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's remarks on its own code while it exports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
