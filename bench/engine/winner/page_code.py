"""Code that loads a classifier without this package, as its model card shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.methods.encoder import WEIGHTS


def timm_lines(card: Mapping[str, Any]) -> list[str]:
    """Python that defines `model` of a classifier with torch, timm and safetensors, and uses it."""
    winner, layers = card["winner"], list(card["layers"])
    layer = card["default_layer"] if winner["layer"] == "last" else winner["layer"]
    rounded = ".half()  # rounded, as where the head was fitted" if winner["head"]["rounded"] else ""
    # a ViT of the house passes its last block alone through the final norm
    normed = card["family"] == "timm" or layer == card["default_layer"]
    return [
        "import json, timm, torch",
        "from safetensors.torch import load_file",
        "",
        *opened(),
        "",
        "@torch.inference_mode()",
        "def model(images):",
        f"    maps = encoder.forward_intermediates((images - mean) / std, indices=[{layers.index(layer)}], "
        f'norm={normed}, output_fmt="NCHW", intermediates_only=True)[0]',
        f"    features = maps.mean((2, 3)){rounded}",
        '    points = (features.double() - head["mean"]) * head["scale"]',
        *head_lines(winner["head"]),
        *use("model(images)"),
    ]


def opened() -> list[str]:
    """Opens card, head and encoder."""
    return [
        'card, head = json.load(open("card.json")), load_file("head.safetensors")',
        f'encoder = timm.create_model(**card["timm"], checkpoint_path="{WEIGHTS}").eval()',
        'mean, std = (torch.tensor(card[name]).view(1, -1, 1, 1) for name in ("mean", "std"))',
    ]


def fenced(lines: list[str]) -> str:
    """Python as Markdown."""
    return "\n".join(["```python", *lines, "```"])


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


def use(call: str, shape: str = "") -> list[str]:
    """Calls a model for probabilities; of each pixel where a shape is given."""
    shown = f", [N, K{shape}]" if shape else ""
    return ["", f"probabilities = {call}.softmax(1)  # images: float32 [N, C, H, W] in [0, 1]{shown}"]
