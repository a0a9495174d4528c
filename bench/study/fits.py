"""Whether a study's protocols can do what they are asked on its networks, as far as names tell."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import UserError
from bench.store.datasets import DataRecord
from bench.study.expand import Setting, judges
from bench.study.protocols.finetune import FinetuneOptions, check_encoder
from bench.study.spec import Study


def check_finetuning(study: Study, settings: Sequence[Setting], record: DataRecord) -> None:
    """Raises:
    UserError: fine-tuning is asked of features that have no weights, or for blocks that a network lacks.
    """
    for index, entry in enumerate(study.evaluate):
        if not isinstance(entry, FinetuneOptions):
            continue
        for setting in settings:
            if judges(entry, setting):
                try:
                    check_encoder(entry, setting.options.encoder_name, record.image_shape[2])
                except UserError as error:
                    raise UserError(f"evaluate.{index}.{error}") from None
