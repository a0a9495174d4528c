"""A winner as one file that runs without this package: a `torch.export` program, and ONNX."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from bench.data.batches import to_float
from bench.engine.winner.model import WinnerModel
from bench.engine.winner.segmenter import SegmentationModel
from bench.errors import UserError
from bench.protocols.solver import ABSENT

PROGRAM, ONNX = "model.pt2", "model.onnx"
OPSET = 18
AGREE = 0.99  # share of the answers that have to be the same
_ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
Model = WinnerModel | SegmentationModel


def write_program(model: Model, folder: Path) -> str | None:
    """Writes `model.pt2`; returns why not where the network cannot be traced (a cascade that routes by image)."""
    return save_program(model, (_example(model),), _any_batch(), folder)


def save_program(model: nn.Module, example: tuple[Tensor, ...], shapes: Any, folder: Path) -> str | None:
    """Traces a network on example inputs, of any number along the axes that shapes name; as `write_program`."""
    try:
        with _quiet():
            program = torch.export.export(model, example, dynamic_shapes=shapes)
    except Exception as error:  # the tracer fails in as many ways as there are networks
        return f"torch.export cannot trace it ({type(error).__name__})"
    with _quiet():
        torch.export.save(program, folder / PROGRAM)
    return None


def check_onnx() -> None:
    """Raises UserError where the packages that ONNX takes are not installed."""
    missing = [name for name in _ONNX_PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(f"--onnx: needs {', '.join(missing)}; pip install 'pretextbench[onnx]'")


def write_onnx(model: Model, folder: Path, images: np.ndarray) -> dict[str, Any]:
    """Writes `model.onnx` and compares it with PyTorch by onnxruntime on the CPU.

    Args:
        model: in evaluation mode.
        folder: where to.
        images: uint8 [N, H, W, C], the images of the data set that they are compared on.

    Returns:
        opset, images, max_difference (of a logit, absolute, classes without labels left out), same_answers (a share,
        of pixels where those are answered).

    Raises:
        UserError: the network cannot be exported, or the two answer differently.
    """
    save_onnx(model, (_example(model),), _any_batch(), (["images"], ["logits"]), folder)
    batch = to_float(images)
    with torch.inference_mode():
        expected = model(batch)
    found = run_onnx(folder / ONNX, batch)
    same = float((found.argmax(1) == expected.argmax(1)).double().mean())
    if same < AGREE:
        raise UserError(f"--onnx: {other_answers(same, len(batch))}")
    known = expected > ABSENT / 1e3
    difference = float((found - expected)[known].abs().max())
    return {"opset": OPSET, "images": len(batch), "max_difference": difference, "same_answers": same}


def run_onnx(path: Path, images: Tensor) -> Tensor:
    """Logits, float32 [N, K] or [N, K, H, W], of images, float32 [N, C, H, W], by onnxruntime on the CPU."""
    return torch.from_numpy(open_onnx(path).run(["logits"], {"images": images.numpy()})[0])


def save_onnx(
    model: nn.Module | ExportedProgram,
    example: tuple[Tensor, ...],
    shapes: Any,
    names: tuple[Sequence[str], Sequence[str]],
    folder: Path,
) -> None:
    """Writes `model.onnx`: a network traced on example inputs, or a program; names of inputs and of what it returns.

    Raises:
        UserError: the network cannot be exported.
    """
    try:
        with _quiet():
            program = torch.onnx.export(
                model,
                example,
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=names[0],
                output_names=names[1],
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
        program.save(folder / ONNX)
    except Exception as error:  # as above
        raise UserError(f"--onnx: this network cannot be exported ({type(error).__name__}); leave it out") from error


def open_onnx(path: Path) -> Any:
    """A session of onnxruntime on the CPU."""
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def other_answers(same: float, images: int) -> str:
    """What is said where too small a share of the answers is the same."""
    return f"onnxruntime gives other answers than PyTorch on {1 - same:.0%} of {images} images"


def _example(model: Model) -> Tensor:
    return torch.zeros(2, *model.encoder.shape)


def _any_batch() -> dict[str, dict[int, Any]]:
    return {"images": {0: torch.export.Dim("batch")}}


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn about their own insides."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield
