"""A few-shot winner as one file that runs without this package: queries and a support of any number of new classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim

from bench.engine.winner.few_shot_model import FewShotModel
from bench.engine.winner.program import AGREE, ONNX, OPSET, PROGRAM, open_onnx, other_answers, save_onnx, save_program
from bench.errors import UserError

Inputs = tuple[Tensor, ...]  # query, support and, where they are read, masks of the support: as `FewShotModel.forward`
INPUTS, OUTPUTS = ("query", "support", "support_masks"), ("presence", "masks")


def write_program(model: FewShotModel, folder: Path) -> str | None:
    """Writes `model.pt2`; returns why not where the network cannot be traced."""
    return save_program(model, _example(model), _any_number(model), folder)


def write_onnx(model: FewShotModel, folder: Path, inputs: Inputs) -> dict[str, Any]:
    """Writes `model.onnx`, from `model.pt2` where that is there, and compares it with PyTorch by onnxruntime.

    Args:
        model: in evaluation mode.
        folder: where to.
        inputs: on which they are compared.

    Returns:
        opset, images (queries), max_difference (of a probability, absolute), same_answers (a share of the answers of
        presence and pixels, the lower one).

    Raises:
        UserError: the network cannot be exported, or the two answer differently.
    """
    names = INPUTS[: len(inputs)]
    traced = folder / PROGRAM
    source = torch.export.load(traced) if traced.is_file() else model  # tracing takes a third of the time
    save_onnx(source, _example(model), _any_number(model), (names, OUTPUTS), folder)
    with torch.inference_mode():
        expected = model(*inputs)
    found = run_onnx(folder / ONNX, inputs)
    same = min(
        float(((one > limit) == (other > limit)).double().mean())
        for one, other, limit in zip(found, expected, model.thresholds, strict=True)
    )
    if same < AGREE:
        raise UserError(f"--onnx: {other_answers(same, len(inputs[0]))}")
    difference = max(float((one - other).abs().max()) for one, other in zip(found, expected, strict=True))
    return {"opset": OPSET, "images": len(inputs[0]), "max_difference": difference, "same_answers": same}


def run_onnx(path: Path, inputs: Inputs) -> tuple[Tensor, ...]:
    """Probabilities of presence and of pixels, as `FewShotModel.forward`, by onnxruntime on the CPU."""
    session = open_onnx(path)
    given = {name: values.numpy() for name, values in zip(INPUTS, inputs, strict=False)}
    return tuple(torch.from_numpy(values) for values in session.run(list(OUTPUTS), given))


def _example(model: FewShotModel) -> Inputs:
    """Two queries, three classes, two shots: none of them one, which a tracer takes for a constant."""
    channels, height, width = model.encoder.shape
    images = torch.zeros(2, channels, height, width), torch.zeros(3, 2, channels, height, width)
    return (*images, torch.ones(3, 2, height, width, dtype=torch.bool)) if model.reads_masks else images


def _any_number(model: FewShotModel) -> tuple[dict[int, Any], ...]:
    queries, ways, shots = (Dim(name) for name in ("queries", "ways", "shots"))
    support = {0: ways, 1: shots}
    return ({0: queries}, support, support) if model.reads_masks else ({0: queries}, support)
