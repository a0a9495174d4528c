"""Whether a study's few-shot episodes can be drawn, and its encoders have patch tokens."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import UserError
from bench.store.datasets import DataRecord
from bench.study.encoders import ENCODERS, is_timm
from bench.study.expand import Setting, judges
from bench.study.protocols import FewShotOptions
from bench.study.spec import Study


def check_few_shot(study: Study, settings: Sequence[Setting], record: DataRecord) -> None:
    """Raises:
    UserError: more ways than classes, more shots than a class has images, or an encoder without patch tokens.
    """
    for index, entry in enumerate(study.evaluate):
        if isinstance(entry, FewShotOptions):
            try:
                check_shots(entry, record)
                for setting in settings:
                    if judges(entry, setting):
                        check_tokens(setting.options.encoder_name)
            except UserError as error:
                raise UserError(f"evaluate.{index}.{error}") from None


def check_shots(options: FewShotOptions, record: DataRecord) -> None:
    """Raises UserError where a fold is not that of the data, or a novel class has fewer test images than shots."""
    shots = max(int(budget) for budget in options.label_budgets)
    for fold in options.class_folds(record.name, record.class_names):
        for number in fold.novel if record.shown else ():
            check_class(record.class_names[number], record.shown[-1][number], shots)


def check_class(name: str, count: int, shots: int, where: str = "test") -> None:
    """Raises UserError unless a class has an image for each shot and one for the query."""
    if count <= shots:
        valid = f"valid: up to {count - 1}" if count > 1 else "take another fold or more images"
        raise UserError(f"label_budgets: {shots} shots and a query, but {count} {where} images show {name!r}; {valid}")


def check_tokens(encoder: str) -> None:
    """Raises UserError for an encoder without patch tokens; of timm's networks only timm knows."""
    if is_timm(encoder):
        return
    if encoder not in ENCODERS or ENCODERS[encoder].family != "vit":
        valid = [name for name, preset in ENCODERS.items() if preset.family == "vit"]
        raise UserError(
            f"protocol: few_shot reads patch tokens and {encoder!r} has none; valid: {', '.join(valid)}, "
            "or a plain ViT of timm with a class token (timm/vit_small_patch16_224)"
        )
