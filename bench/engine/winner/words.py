"""What is said of a winner: on the console and in its model card, in the same words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_COUNTED = {  # of validation and test
    "classification": ("labels", "images"),
    "segmentation": ("pixels", "pixels"),
    "few_shot": ("episodes", "answers"),
}
_METRICS = {"miou": "mIoU"}


def summary(winner: Mapping[str, Any]) -> list[str]:
    """Who, why, which seed and draw, what was checked: a line each."""
    lines = [standing(winner), selection(winner), reproduction(winner), calibration(winner)]
    if winner["program"] != "ok":
        lines.append(f"no model.pt2: {winner['program']}; `bench predict` reads the folder all the same")
    return [*lines, onnx(winner)] if winner["onnx"] else lines


def standing(winner: Mapping[str, Any]) -> str:
    """The entrant, its place and the score that placed it."""
    board = winner["leaderboard"]
    by = board["placed_by"]
    return (
        f"{winner['entrant']}: place {board['place']} of {board['of']} in the study {board['study']} by "
        f"{metric_words(board['metric'])} {by['over']}, {interval(by, board['level'])}"
    )


def selection(winner: Mapping[str, Any]) -> str:
    """Which seed and draw, and what chose them."""
    row, tried, held = winner["row"], winner["candidates"], winner["calibration"]["n_images"]
    named = f"draw {row['draw']}" if row["seed"] is None else f"seed {row['seed']}, draw {row['draw']}"
    count = f" ({row['n_labels']} labels)" if winner["task"] == "classification" else ""
    where = f"{named} at {budget_words(winner)}{count}"
    if len(tried) == 1:
        return f"{where}, the only one"
    if not held:
        return f"{where}, the first of {len(tried)}: no validation image has a label"
    metric = metric_words(winner["leaderboard"]["metric"])
    if winner["task"] == "few_shot":
        return f"{where}: best of {len(tried)} by {metric} on base classes kept from training, not by test images"
    return f"{where}: best of {len(tried)} by {metric} on {held} validation images, not by test images"


def reproduction(winner: Mapping[str, Any]) -> str:
    """How the files score on the test split, against the row."""
    row, exported = winner["row"], winner["exported"]
    if winner["task"] == "few_shot":
        return _episodes(winner)
    if winner["task"] == "segmentation":
        line, name = f"the network trained again answers the {row['n_test']} test images as its row says: ", "miou"
        other = f"at least {exported['differing']} pixels"
    else:
        line, name = f"the head fitted again answers all {row['n_test']} test images as its row says: ", "accuracy"
        other = str(exported["differing"])
    line += f"{metric_words(name)} {row['scores'][name]:.4f}"
    if exported["differing"]:
        line += f"; the network as written answers {other} otherwise ({exported[name]:.4f})"
    return line


def _episodes(winner: Mapping[str, Any]) -> str:
    """How a few-shot network scores in the test episodes, against the row; of which fold its files are."""
    row, exported, fold = winner["row"], winner["exported"], winner["fold"]
    scores = row["scores"]
    line = (
        f"trained again, it answers the {row['n_test']} test episodes as its row says: exact ratio "
        f"{scores['exact_ratio']:.4f}, mIoU {scores['miou']:.4f}"
    )
    if fold["of"] > 1:
        line += (
            f"; the files are of fold {fold['number']}, the best of {fold['of']} on its validation classes: "
            f"{exported['exact_ratio']:.4f} and {exported['miou']:.4f}"
        )
    if exported["differing"]:
        line += f"; the network as written answers {exported['differing']} episodes otherwise"
    return line


def calibration(winner: Mapping[str, Any]) -> str:
    """The temperature, whose labels set it, and what error it leaves."""
    found, (labels, items) = winner["calibration"], _COUNTED[winner.get("task", "classification")]
    if not found["n_labels"]:
        return f"not calibrated, no validation image has a label: expected calibration error {found['ece']:.4f}"
    n_test = found.get("n_test", winner["row"]["n_test"])  # not in cards of format 1
    what = "presence " if winner.get("task") == "few_shot" else ""
    return (
        f"{what}calibrated on {found['n_labels']} validation {labels}: temperature {winner['temperature']:.3f}, "
        f"expected calibration error {found['ece']:.4f} on {n_test} test {items} ({found['ece_before']:.4f} before; 15 "
        "bins)"
    )


def onnx(winner: Mapping[str, Any]) -> str:
    """What onnxruntime makes of `model.onnx`."""
    made, number = winner["onnx"], "a probability" if winner["task"] == "few_shot" else "a logit"
    return (
        f"model.onnx, opset {made['opset']}: onnxruntime differs from PyTorch by at most {made['max_difference']:.1e} "
        f"in {number} on {made['images']} test images, {made['same_answers']:.1%} of the answers are the same"
    )


def interval(point: Mapping[str, Any], level: float) -> str:
    """`0.912 (95 %: 0.900 to 0.924)`."""
    if point["low"] is None or point["high"] is None:
        return f"{point['score']:.4f} (no interval: nothing was replicated)"
    return f"{point['score']:.4f} ({level:.0%}: {point['low']:.4f} to {point['high']:.4f})"


def budget_words(winner: Mapping[str, Any]) -> str:
    """A label budget in words."""
    budget = winner["row"]["label_budget"]
    if winner["task"] == "few_shot":
        return f"{budget} shot{'s' if budget != '1' else ''}"
    if winner["task"] == "segmentation":
        return "all labelled images" if budget == "all" else f"{budget} labelled image{'s' if budget != '1' else ''}"
    return "all labels" if budget == "all" else f"{budget} labels a class"


def metric_words(metric: str) -> str:
    """A metric in words."""
    return _METRICS.get(metric, metric.replace("_", " "))
