"""`README.md` of a winner: its model card, with code that loads it without this package."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bench.engine.winner.card import NOT_STATED
from bench.engine.winner.program import ONNX, PROGRAM
from bench.engine.winner.words import budget_words, calibration, interval, metric_words, selection, standing
from bench.methods.encoder import WEIGHTS
from bench.methods.mask_codec import MASK

PAGE = "README.md"
_SHOWN_CLASSES = 100


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
    results = [{"type": name, "value": value} for name, value in row["scores"].items() if value is not None]
    front = {
        "license": "other",
        "license_name": "see-licence-of-the-data",
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": ["pretextbench", "self-supervised-learning", row["method"], row["protocol"]],
        "model-index": [
            {
                "name": winner["entrant"],
                "results": [
                    {
                        "task": {"type": "image-classification"},
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
    return (
        "\n".join(lines)
        + f"\n\nOf {row['n_test']} test images, nll and ece before calibration. The entrant, over its seeds and draws: "
        + f"{metric} {interval(board['at_budget'], level)} at {budget_words(row['label_budget'])}; "
        + f"{interval(board['placed_by'], level)} {board['placed_by']['over']}, which placed it."
    )


def _data(winner: Mapping[str, Any]) -> str:
    data, given, names = winner["data"], winner["input"], winner["classes"]
    count = data["images"]
    shown = ", ".join(plain(name) for name in names[:_SHOWN_CLASSES])
    more = f" and {len(names) - _SHOWN_CLASSES} more, in card.json" if len(names) > _SHOWN_CLASSES else ""
    lines = [
        f"{plain(data['name'])}, content digest `{data['fingerprint']}`, split `{data['split_digest']}`: "
        f"{count['pretraining']} images for pretraining, {winner['row']['n_labels']} labels, {count['validation']} "
        f"images of validation, {count['test']} of test.",
        f"{len(names)} classes, in the order of the logits: {shown}{more}.",
        f"Images: {given['height']} x {given['width']} pixels, {given['channels']} "
        f"channel{'' if given['channels'] == 1 else 's'}, values in [0, 1].",
        f"Licence of the data, as stated by who made this: {plain(data['licence'])}.",
    ]
    if data["licence"] == NOT_STATED:
        lines.append("Ask for it before these files are passed on.")
    return "\n".join(f"- {line}" for line in lines)


def _loading(card: Mapping[str, Any], files: set[str]) -> str:
    parts = []
    if card["timm"] is not None and card["family"] in ("vit", "timm"):
        parts.append("With torch, timm and safetensors, in this folder:\n\n" + _code(_timm_lines(card)))
    if PROGRAM in files:
        code = ["import torch", "", f'model = torch.export.load("{PROGRAM}").module()', *_use("model(images)")]
        parts.append("With torch alone:\n\n" + _code(code))
    if ONNX in files:
        made = card["winner"]["onnx"]
        code = [
            "import onnxruntime",
            "",
            f'session = onnxruntime.InferenceSession("{ONNX}")',
            'logits = session.run(["logits"], {"images": images})[0]  # images: float32 array',
        ]
        parts.append(f"With onnxruntime (opset {made['opset']}):\n\n" + _code(code))
    parts.append(f"With this package: `bench predict . IMAGES --to predictions.parquet`, which reads `{WEIGHTS}`.")
    if MASK in files:
        parts.append(
            f"`{MASK}` is the same encoder as a mask over the backbone it was learned on, to be shared with others: "
            f"`bench weights --apply {MASK} --backbone BACKBONE --to {WEIGHTS}` makes the weights, bit for bit."
        )
    return "\n\n".join(parts)


def _timm_lines(card: Mapping[str, Any]) -> list[str]:
    winner, layers = card["winner"], list(card["layers"])
    layer = card["default_layer"] if winner["layer"] == "last" else winner["layer"]
    rounded = ".half()  # rounded, as where the head was fitted" if winner["head"]["rounded"] else ""
    # a ViT of the house passes its last block alone through the final norm
    normed = card["family"] == "timm" or layer == card["default_layer"]
    return [
        "import json, timm, torch",
        "from safetensors.torch import load_file",
        "",
        'card, head = json.load(open("card.json")), load_file("head.safetensors")',
        f'encoder = timm.create_model(**card["timm"], checkpoint_path="{WEIGHTS}").eval()',
        'mean, std = (torch.tensor(card[name]).view(1, -1, 1, 1) for name in ("mean", "std"))',
        "",
        "@torch.inference_mode()",
        "def model(images):",
        f"    maps = encoder.forward_intermediates((images - mean) / std, indices=[{layers.index(layer)}], "
        f'norm={normed}, output_fmt="NCHW", intermediates_only=True)[0]',
        f"    features = maps.mean((2, 3)){rounded}",
        '    points = (features.double() - head["mean"]) * head["scale"]',
        *head_lines(winner["head"]),
        *_use("model(images)"),
    ]


def head_lines(head: Mapping[str, Any]) -> list[str]:
    """The rest of a function that knows `points`, standardised features, and returns calibrated logits."""
    lines = ["    points = torch.nn.functional.normalize(points)"] if head["unit"] else []
    if head["kind"] == "linear":
        return [*lines, '    return (points @ head["weight"] + head["bias"]) / card["winner"]["temperature"]']
    bank = ["    bank = torch.nn.functional.normalize(bank)"] if head["unit"] else []
    return [
        *lines,
        '    bank = head["bank"].double()',
        *bank,
        '    near = torch.cdist(points, bank).sort(stable=True).indices[:, : card["winner"]["head"]["k"]]',
        '    classes = card["winner"]["head"]["classes"]',
        '    votes = torch.nn.functional.one_hot(head["labels"][near], classes).sum(1) + 1 / classes',
        '    return votes.log() / card["winner"]["temperature"]',
    ]


def _use(call: str) -> list[str]:
    return ["", f"probabilities = {call}.softmax(1)  # images: float32 [N, C, H, W] in [0, 1]"]


def _code(lines: list[str]) -> str:
    return "\n".join(["```python", *lines, "```"])


def _limits(winner: Mapping[str, Any]) -> str:
    lines = [
        "The entrant was chosen by its scores on the test split, among those of the leaderboard: its score is by that "
        "much too good, the more so the more entrants there were.",
        "Probabilities are calibrated for images like those of validation; on others they are not.",
        "Of what the images show and whom it concerns, this card knows nothing.",
    ]
    if winner["exported"]["differing"]:
        lines.append(
            f"In single precision {winner['exported']['differing']} test images are answered otherwise than scored "
            "above, by features that lie on the edge of a rounding."
        )
    return "\n".join(f"- {line}" for line in lines)


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]
