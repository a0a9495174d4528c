"""`README.md` of a winner: its model card, with code that loads it without this package."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bench.engine.winner import page_few_shot
from bench.engine.winner.card import NOT_STATED
from bench.engine.winner.page_code import fenced, timm_lines, use
from bench.engine.winner.page_code_segmentation import smp_lines
from bench.engine.winner.program import ONNX, PROGRAM
from bench.engine.winner.words import budget_words, calibration, interval, metric_words, selection, standing
from bench.methods.encoder import WEIGHTS
from bench.methods.mask_codec import MASK

PAGE = "README.md"
_SHOWN_CLASSES = 100
_FEW_SHOT = "few_shot"


def write_page(folder: Path, card: Mapping[str, Any]) -> None:
    """Writes the model card of the files that lie in the folder."""
    winner, files = card["winner"], set(card["winner"]["files"])
    parts = [
        _front(winner),
        f"# {plain(winner['entrant'])}",
        f"{plain(standing(winner))}. {_first_upper(selection(winner))}. {_first_upper(calibration(winner))}.",
        "## Scores on the test split\n\n" + _scores(winner),
        "## Data\n\n" + _data(winner),
        "## How to load\n\n" + _loading(card, files),
        "## Limits\n\n" + _limits(winner),
    ]
    (folder / PAGE).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def plain(text: object) -> str:
    """A text of others' making as one line of Markdown that formats and links nothing."""
    line = html.escape(" ".join(str(text).split()), quote=False)
    return "".join(f"\\{sign}" if sign in r"\`*_[]|#~$" else sign for sign in line)


def _front(winner: Mapping[str, Any]) -> str:
    """The YAML that the Hugging Face hub reads."""
    row, data = winner["row"], winner["data"]
    task = f"image-{'segmentation' if winner['task'] == _FEW_SHOT else winner['task']}"  # the hub has no word for it
    results = [{"type": name, "value": value} for name, value in row["scores"].items() if value is not None]
    front = {
        "license": "other",
        "license_name": "see-licence-of-the-data",
        "library_name": "pytorch",
        "pipeline_tag": task,
        "tags": ["pretextbench", "self-supervised-learning", row["method"], row["protocol"]],
        "model-index": [
            {
                "name": winner["entrant"],
                "results": [
                    {
                        "task": {"type": task},
                        "dataset": {"name": data["name"], "type": data["name"], "split": "test"},
                        "metrics": results,
                    }
                ],
            }
        ],
    }
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---"


def _scores(winner: Mapping[str, Any]) -> str:
    row, board = winner["row"], winner["leaderboard"]
    lines = ["| score | of these files |", "|---|---|"]
    lines += [f"| {metric_words(name)} | {value:.4f} |" for name, value in row["scores"].items() if value is not None]
    metric, level = metric_words(board["metric"]), board["level"]
    said = f"Of {row['n_test']} test images, nll and ece before calibration."
    if winner["task"] == _FEW_SHOT:
        said = page_few_shot.episodes(winner)
    if winner["task"] == "segmentation":
        said = f"Of every pixel of {row['n_test']} test images that has a class."
        lines += ["", "| class | IoU |", "|---|---|"]
        lines += [
            f"| {plain(name)} | {'none in the test images' if value is None else f'{value:.4f}'} |"
            for name, value in ((name, winner["class_iou"][name]) for name in winner["classes"])
        ]
    return (
        "\n".join(lines)
        + f"\n\n{said} The entrant, over its seeds and draws: "
        + f"{metric} {interval(board['at_budget'], level)} at {budget_words(winner)}; "
        + f"{interval(board['placed_by'], level)} {board['placed_by']['over']}, which placed it."
    )


def _data(winner: Mapping[str, Any]) -> str:
    data, given, names = winner["data"], winner["input"], winner["classes"]
    count = data["images"]
    shown = ", ".join(plain(name) for name in names[:_SHOWN_CLASSES])
    more = f" and {len(names) - _SHOWN_CLASSES} more, in card.json" if len(names) > _SHOWN_CLASSES else ""
    role, bought = "in the order of the logits", "labels" if winner["task"] == "classification" else "masks"
    bought = f"{winner['row']['n_labels']} {bought}"
    if winner["task"] == _FEW_SHOT:
        role = f"from which the head learned (tested on {', '.join(plain(name) for name in winner['novel'])})"
        bought = page_few_shot.bought(winner)
    lines = [
        f"{plain(data['name'])}, content digest `{data['fingerprint']}`, split `{data['split_digest']}`: "
        f"{count['pretraining']} images for pretraining, {bought}, {count['validation']} "
        f"images of validation, {count['test']} of test.",
        f"{len(names)} classes, {role}: {shown}{more}.",
        f"Images: {given['height']} x {given['width']} pixels, {given['channels']} "
        f"channel{'' if given['channels'] == 1 else 's'}, values in [0, 1]{_cut(given)}.",
        f"Licence of the data, as stated by who made this: {plain(data['licence'])}.",
    ]
    if data["licence"] == NOT_STATED:
        lines.append("Ask for it before these files are passed on.")
    return "\n".join(f"- {line}" for line in lines)


def _cut(given: Mapping[str, Any]) -> str:
    """How images of other sizes become such, of those that are answered by the pixel."""
    if "cut" not in given:
        return ""
    if given["cut"] is None:
        return "; images of other sizes are resized to that as a whole"
    cut = given["cut"]
    return f"; chips of {cut['height']} x {cut['width']} pixels of an image, which share {cut['overlap']} with the next"


def _loading(card: Mapping[str, Any], files: set[str]) -> str:
    parts = page_few_shot.loading(card, files) if card["winner"]["task"] == _FEW_SHOT else _code(card, files)
    if MASK in files:
        parts.append(
            f"`{MASK}` is the same encoder as a mask over the backbone it was learned on, to be shared with others: "
            f"`bench weights --apply {MASK} --backbone BACKBONE --to {WEIGHTS}` makes the weights, bit for bit."
        )
    return "\n\n".join(parts)


def _code(card: Mapping[str, Any], files: set[str]) -> list[str]:
    """Code that loads the files of a network that knows its classes."""
    parts, segments = [], card["winner"]["task"] == "segmentation"
    if card["timm"] is not None and card["family"] in ("vit", "timm"):
        named = "segmentation-models-pytorch, timm" if segments else "timm"
        lines = smp_lines(card) if segments else timm_lines(card)
        parts.append(f"With torch, {named} and safetensors, in this folder:\n\n" + fenced(lines))
    if PROGRAM in files:
        shape = ", H, W" if segments else ""
        code = ["import torch", "", f'model = torch.export.load("{PROGRAM}").module()', *use("model(images)", shape)]
        parts.append("With torch alone:\n\n" + fenced(code))
    if ONNX in files:
        made = card["winner"]["onnx"]
        code = [
            "import onnxruntime",
            "",
            f'session = onnxruntime.InferenceSession("{ONNX}")',
            'logits = session.run(["logits"], {"images": images})[0]  # images: float32 array',
        ]
        parts.append(f"With onnxruntime (opset {made['opset']}):\n\n" + fenced(code))
    parts.append(f"With this package: `bench predict . IMAGES --to predictions.parquet`, which reads `{WEIGHTS}`.")
    return parts


def _limits(winner: Mapping[str, Any]) -> str:
    lines = [
        "The entrant was chosen by its scores on the test split, among those of the leaderboard: its score is by that "
        "much too good, the more so the more entrants there were.",
        *(page_few_shot.limits(winner) if winner["task"] == _FEW_SHOT else _of_fixed_classes(winner)),
        "Of what the images show and whom it concerns, this card knows nothing.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _of_fixed_classes(winner: Mapping[str, Any]) -> list[str]:
    lines = ["Probabilities are calibrated for images like those of validation; on others they are not."]
    return [*lines, _differing(winner)] if winner["exported"]["differing"] else lines


def _differing(winner: Mapping[str, Any]) -> str:
    count = winner["exported"]["differing"]
    if winner["task"] == "segmentation":
        return f"Calibrated and on a CPU, at least {count} test pixels are answered otherwise than scored above."
    return (
        f"In single precision {count} test images are answered otherwise than scored above, by features that lie on "
        "the edge of a rounding."
    )


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]
