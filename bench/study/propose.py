"""A study for somebody's images that asks nothing: methods, image size and budgets that the labels and time allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError
from bench.study.inspection import Inspection, Machine, name_some
from bench.study.proposal_cost import Work, seconds_of

MINUTES = 15.0  # what a study takes when nobody says otherwise
_BUDGETS = (1, 2, 5, 10, 20, 50)
_FINETUNE_BUDGETS = (1, 10)
_VIEWS = tuple(round(800_000 / 2 ** (step / 2)) for step in range(17))  # images SimCLR sees: 800,000 to 3,125
_MAE_VIEWS = 4  # times as many for MAE, which costs less an image
_MOST_EPOCHS = 200
_FEWEST_EPOCHS = 4  # rather fewer images than fewer passes
_SMALLEST_CAP = 500  # a train pool is not made smaller than this for the sake of time
_TEST, _VALIDATION = 0.2, 0.15  # shares, as in DataSpec
_MOST_TEST = 2000
_SIDE, _GPU_SIDE, _LONG_SIDE = 32, 64, 48  # sides of an image on cores, on a GPU, on cores with hours to spend
_LONG_MINUTES = 120.0


@dataclass(frozen=True)
class Proposal:
    """A study as plain data, what it is expected to take, and what to say about it."""

    raw: dict[str, Any]
    seconds: float
    minutes: float  # asked for
    remarks: tuple[str, ...]

    def describe(self) -> list[str]:
        """Lines for people: what was chosen."""
        data, methods = self.raw["data"], self.raw["methods"]
        size = data.get("image_size")
        trained = {name: options["epochs"] for name, options in methods.items() if "epochs" in options}
        epochs = ", ".join(f"{name} {count} epoch{'s' if count > 1 else ''}" for name, count in trained.items())
        budgets = ", ".join(map(str, self.raw["evaluate"][0]["label_budgets"]))
        fits = self.seconds <= 60 * self.minutes
        late = "" if fits else f", more than the {self.minutes:g} asked for: less would show nothing"
        return [
            f"image size {size if size else 'as it is'}; methods {', '.join(methods)} ({epochs})",
            f"label budgets {budgets} of each class; {self.raw['seeds']} seeds",
            *self.remarks,
            f"about {_minutes(self.seconds)}{late}",
        ]


def propose(
    name: str,
    inspection: Inspection,
    machine: Machine,
    minutes: float | None = None,
    pool_counts: Sequence[int] | None = None,
) -> Proposal:
    """The study with the most pretraining that fits the time.

    Args:
        name: of the study.
        inspection: the images.
        machine: where it will run.
        minutes: that it may take; default: MINUTES.
        pool_counts: labelled images of each class in the train pool, capped as proposed before, where the images were
            read and split already.

    Raises:
        UserError: `minutes` is not positive, or there are too few labels for any study.
    """
    asked = MINUTES if minutes is None else minutes
    if not 0 < asked < float("inf"):
        raise UserError(f"--minutes {asked:g}: a positive number is needed, such as 20")
    plans = [_proposal(name, inspection, machine, asked, views, pool_counts) for views in _VIEWS]
    return next((plan for plan in plans if plan.seconds <= 60 * asked), plans[-1])


def _proposal(
    name: str, inspection: Inspection, machine: Machine, minutes: float, views: int, pool_counts: Sequence[int] | None
) -> Proposal:
    classes, remarks = _classes(inspection)
    validation = _validation(inspection, classes)
    counts = {label: _pool(inspection, inspection.labelled[label], validation) for label in classes}
    smallest = min(counts.values())
    unlabelled = inspection.unlabelled if len(classes) == len(inspection.labelled) else 0
    train, cap = _capped(inspection, sum(counts.values()) + unlabelled, smallest, views)
    if cap is not None:
        smallest = max(1, int(smallest * cap) - 1)  # a class may lose one more to rounding
        remarks.append(f"pretraining on {train:,} of the images, so that it sees each several times")
    if pool_counts:  # read under the same cap; of another one they may hold more
        smallest = min(min(pool_counts), smallest + 2)
    data = _data(inspection, machine, minutes, validation)
    if len(classes) < len(inspection.labelled):
        data["classes"] = classes
    if cap is not None:
        data["max_train"] = int(train / (1 - validation))
    if _test(inspection, classes) > _MOST_TEST:
        data["max_test"] = _MOST_TEST
    seeds = 3 if views >= 12_000 else 2
    budgets = [budget for budget in _BUDGETS if budget <= smallest]
    raw = {
        "study": name,
        "description": inspection.describe(),
        "data": data,
        **_methods(train, views, data.get("image_size") or inspection.shorter, bool(machine.gpus)),
        "evaluate": _evaluate(budgets, smallest, bool(machine.gpus)),
        "seeds": seeds,
        "resources": _resources(machine),
    }
    remarks += _unreadable(inspection)
    return Proposal(raw, seconds_of(raw, _work(inspection, train, len(classes), machine)), minutes, tuple(remarks))


def _classes(inspection: Inspection) -> tuple[list[str], list[str]]:
    """The classes with enough labels, and a remark on those without.

    Raises:
        UserError: fewer than two are left.
    """
    uses = ["to learn from"]
    uses += [] if inspection.validation else ["to choose with"]
    uses += [] if inspection.test else ["to test on"]
    needed = len(uses)
    why = f"a class needs {needed} labelled images: {', '.join(f'one {use}' for use in uses)}"
    counted = [f"{name!r} with {count}" for name, count in inspection.labelled.items()]
    small = [text for text, count in zip(counted, inspection.labelled.values(), strict=True) if count < needed]
    enough = [name for name, count in inspection.labelled.items() if count >= needed]
    if len(enough) < 2:
        one = "; labels that stand in a file go into a CSV with the columns path and label" if len(counted) == 1 else ""
        raise UserError(f"data: two classes or more are needed, and {why}; found: {name_some(counted)}{one}")
    if not small:
        return enough, []
    alone = "; images without a label are left out with them" if inspection.unlabelled else ""
    return enough, [f"left out: class {name_some(small)}; {why}{alone}"]


def _validation(inspection: Inspection, classes: Sequence[str]) -> float:
    """The usual share, or more where it would leave some class without a validation image and labels are few."""
    share = 0 if inspection.test else _TEST
    left = [inspection.labelled[name] - _cut(inspection.labelled[name], share) for name in classes]
    if inspection.validation or sum(_cut(count, _VALIDATION) for count in left) >= len(classes):
        return _VALIDATION
    return round(min(0.5, max(_VALIDATION, 0.5 / min(left) + 0.01)), 3)


def _pool(inspection: Inspection, count: int, validation: float) -> int:
    """Images of a class that stay in the train pool."""
    count -= _cut(count, 0 if inspection.test else _TEST)
    return max(1, count - _cut(count, 0 if inspection.validation else validation))


def _cut(count: int, share: float) -> int:
    """Images of a class that a split takes, as `bench.data.partition` does without groups."""
    return int(share * count + 0.5)


def _test(inspection: Inspection, classes: Sequence[str]) -> int:
    return inspection.test or sum(_cut(inspection.labelled[name], _TEST) for name in classes)


def _capped(inspection: Inspection, train: int, smallest: int, views: int) -> tuple[int, float | None]:
    """Images of the train pool, and the share that is kept where all would be seen too seldom."""
    kept = max(_SMALLEST_CAP, views // _FEWEST_EPOCHS, -(-train * min(12, smallest) // smallest))
    return (train, None) if kept >= train else (kept, kept / train)


def _data(inspection: Inspection, machine: Machine, minutes: float, validation: float) -> dict[str, Any]:
    data: dict[str, Any] = {"name": inspection.kind}
    if inspection.root is not None:
        data["root"] = inspection.root
    size = _side(inspection, machine, minutes)
    if size is not None:
        data["image_size"] = size
    data["on_error"] = "skip"  # the run names and counts what it leaves out
    if validation != _VALIDATION:
        data["validation"] = validation
    return data


def _side(inspection: Inspection, machine: Machine, minutes: float) -> int | None:
    """The side of an image: no larger than the images; None where they may stay as they are."""
    wanted = _GPU_SIDE if machine.gpus else _LONG_SIDE if minutes >= _LONG_MINUTES else _SIDE
    width, height = inspection.size or (0, 0)
    if width == height and 8 <= width <= wanted and width % 4 == 0:
        return None
    return min(wanted, max(8, inspection.shorter // 8 * 8))


def _methods(train: int, views: int, side: int, gpu: bool) -> dict[str, Any]:
    conv, vit = ("conv_tiny", "vit_tiny") if gpu else ("conv_nano", "vit_nano")
    batch = 2 ** min(6, max(1, train.bit_length() - 1))
    return {
        "methods": {
            "pixels": {},
            "random_init": {},
            "simclr": {"encoder": conv, "epochs": _epochs(views, train), "batch_size": batch},
            "mae": {
                "encoder": vit,
                "epochs": _epochs(_MAE_VIEWS * views, train),
                "batch_size": batch,
                "patch_size": _patch(side),
                "norm_pix": False,
            },
        },
        "scientific": {"random_init.encoder": [conv, vit]},
    }


def _patch(side: int) -> int:
    """The side of a patch that comes nearest to 8 x 8 patches an image."""
    return min((size for size in range(2, side) if side % size == 0), key=lambda size: abs(side / size - 8))


def _epochs(views: int, train: int) -> int:
    return max(1, min(_MOST_EPOCHS, round(views / train)))


def _evaluate(budgets: list[int], smallest: int, gpu: bool) -> list[dict[str, Any]]:
    conv = "conv_tiny" if gpu else "conv_nano"
    few = [budget for budget in _FINETUNE_BUDGETS if budget <= smallest]
    return [
        {"protocol": "linear", "label_budgets": [*budgets, "all"], "draws": 5, "c_grid": [0.01, 0.1, 1, 10]},
        {"protocol": "knn", "label_budgets": [*budgets, "all"], "draws": 5},
        {
            "protocol": "finetune",
            "methods": ["random_init"],
            "where": {"encoder": conv},
            "label_budgets": few,
            "draws": 3,
            "steps": 50,
        },
    ]


def _resources(machine: Machine) -> dict[str, Any]:
    if not machine.gpus:
        return {"workers": 0, "cpus_per_worker": 1}
    return {"workers": 0, "cpus_per_worker": max(1, min(4, machine.cores // machine.gpus)), "gpus_per_worker": 1}


def _unreadable(inspection: Inspection) -> list[str]:
    """A remark on what could not be read."""
    if not inspection.unreadable:
        return []
    path, reason = inspection.unreadable[0]
    found = f"{len(inspection.unreadable)} of {inspection.sampled} images looked at"
    return [f"{found} cannot be read, e.g. {path} ({reason}); such images are left out, and named"]


def _work(inspection: Inspection, train: int, classes: int, machine: Machine) -> Work:
    held = min(_MOST_TEST, inspection.test or int(_TEST * inspection.images))
    side = inspection.shorter
    return Work(inspection.images, inspection.pixels, side, train, held, classes, machine.cores, machine.gpus)


def _minutes(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} minute{'s' if minutes > 1 else ''}" if minutes < 120 else f"{minutes / 60:.0f} hours"
