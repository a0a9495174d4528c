"""What the model card of a few-shot network says and shows otherwise than those of networks that know their classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.engine.winner.page_code import fenced
from bench.engine.winner.program import ONNX, PROGRAM
from bench.engine.winner.words import budget_words
from bench.methods.encoder import WEIGHTS

_LEARNED = {"image": "the labels", "pixel": "the masks", "mixed": "the labels, and the masks of some,"}


def episodes(winner: Mapping[str, Any]) -> str:
    """What was asked in the test episodes, and what is of the row but not of the files."""
    row, fold, details = winner["row"], winner["fold"], winner["details"]
    said = (
        f"Of {row['n_test']} test episodes, {winner['ways']}-way, {budget_words(winner)}; 95 % over their query "
        f"images: exact ratio {details['exact_ratio_low']:.4f} to {details['exact_ratio_high']:.4f}, mIoU "
        f"{details['miou_low']:.4f} to {details['miou_high']:.4f}. Without looking: exact ratio "
        f"{details['exact_ratio_all_absent']:.4f} for no class, {details['exact_ratio_all_present']:.4f} for every "
        f"class; mIoU {details['miou_all_foreground']:.4f} for every pixel."
    )
    if fold["of"] == 1:
        return said
    exported = winner["exported"]
    return (
        f"{said} That is the mean of {fold['of']} networks, one for each fold of the classes; the files hold that of "
        f"fold {fold['number']}, the best on its validation classes: exact ratio {exported['exact_ratio']:.4f}, mIoU "
        f"{exported['miou']:.4f} in its own test episodes."
    )


def bought(winner: Mapping[str, Any]) -> str:
    """The labels that the head learned from."""
    return f"{_LEARNED[winner['head']['supervision']]} of {winner['data']['images']['train']} images for the head"


def loading(card: Mapping[str, Any], files: set[str]) -> list[str]:
    """Code that loads the files."""
    winner, parts = card["winner"], []
    if PROGRAM in files:
        parts.append("With torch alone:\n\n" + fenced(_program(winner)))
    if ONNX in files:
        parts.append(f"With onnxruntime (opset {winner['onnx']['opset']}):\n\n" + fenced(_onnx(winner)))
    if card["timm"] is not None:
        parts.append("The encoder with timm, and the tensors of the head:\n\n" + fenced(_encoder()))
    masks = " and their masks `SUPPORT/CLASS/NAME_mask.png`" if _reads_masks(winner) else ""
    parts.append(
        f"With this package, from images `SUPPORT/CLASS/NAME.png` of new classes{masks}: "
        f"`bench predict . IMAGES --support SUPPORT --to answers.parquet`, which reads `{WEIGHTS}`."
    )
    return parts


def limits(winner: Mapping[str, Any]) -> list[str]:
    """What the card does not promise, beside what no card does."""
    lines = [
        "Probabilities of presence are calibrated on base classes that were kept from training; on other classes and "
        "images they are not. Those of pixels are not calibrated: only their order and the threshold count.",
        "Every class of a support is asked about by itself. Thresholds were chosen with one image of each class.",
    ]
    if winner["head"]["threshold"] == "otsu" and winner["head"]["supervision"] == "image":
        lines.append(
            f"`{PROGRAM}` sums Otsu's histogram in another order than scikit-image: where two thresholds are about "
            "equally good (4 of 1000 random maps), a support's mask may come out otherwise."
        )
    if winner["exported"]["differing"]:
        lines.append(
            f"On a CPU, {winner['exported']['differing']} test episodes are answered otherwise than scored above, in a "
            "pixel at least."
        )
    return lines


def _program(winner: Mapping[str, Any]) -> list[str]:
    return [
        "import json, torch",
        "",
        'limits = json.load(open("card.json"))["winner"]["thresholds"]',
        f'model = torch.export.load("{PROGRAM}").module()',
        "",
        "# query: float32 [N, C, H, W] in [0, 1]; support: [W, K, C, H, W], K images of each of W classes",
        *(["# support_masks: bool [W, K, H, W], true where they show their class"] if _reads_masks(winner) else []),
        f"presence, masks = model({', '.join(_inputs(winner))})  # probabilities, [N, W] and [N, W, H, W]",
        'present = presence > limits["presence"]',
        "chance, way = masks.max(1)",
        'classes = (way + 1).where(chance >= limits["mask"], 0)  # [N, H, W]: 0 is background, 1 the first class',
    ]


def _onnx(winner: Mapping[str, Any]) -> list[str]:
    given = ", ".join(f'"{name}": {name}' for name in _inputs(winner))
    return [
        "import onnxruntime",
        "",
        f'session = onnxruntime.InferenceSession("{ONNX}")',
        f'presence, masks = session.run(["presence", "masks"], {{{given}}})  # arrays as above',
    ]


def _encoder() -> list[str]:
    return [
        "import json, timm",
        "from safetensors.torch import load_file",
        "",
        'card, head = json.load(open("card.json")), load_file("head.safetensors")',
        f'encoder = timm.create_model(**card["timm"], checkpoint_path="{WEIGHTS}").eval()',
    ]


def _inputs(winner: Mapping[str, Any]) -> list[str]:
    return ["query", "support", *(["support_masks"] if _reads_masks(winner) else [])]


def _reads_masks(winner: Mapping[str, Any]) -> bool:
    return bool(winner["head"]["supervision"] == "pixel")
