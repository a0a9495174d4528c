"""Whether methods and protocols can do what they are asked on these images and networks, as far as names tell."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import UserError
from bench.store.datasets import DataRecord
from bench.study.encoders import ENCODERS, check_levels, check_patch, family, is_smp, resolve_patch
from bench.study.expand import Setting, judges
from bench.study.methods import MaskOptions
from bench.study.methods.classic import ClassicOptions
from bench.study.methods.crops import MultiCropOptions
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


def check_fits(setting: Setting, record: DataRecord) -> None:
    """Raises:
    UserError: the network cannot take images of this shape, there are no masks to learn from, or a batch is larger
        than the train pool.
    """
    height, width, _ = record.image_shape
    encoder = setting.options.encoder_name
    kind = family(encoder) if encoder in ENCODERS or is_smp(encoder) else None
    try:
        if kind == "vit":
            resolve_patch(encoder, getattr(setting.options, "patch_size", None), height, width)
        if kind == "unet":
            check_levels(encoder, height, width)
        if isinstance(setting.options, MaskOptions) and setting.options.patch is not None:
            check_patch("patch", setting.options.patch, height, width)
    except UserError as error:
        raise UserError(f"{setting.method}.{error}") from None
    if isinstance(setting.options, ClassicOptions):
        setting.options.check_shape(height, width)
    if isinstance(setting.options, MultiCropOptions):
        setting.options.check_data(height, width, classes=len(record.class_names))
    if setting.options.needs_masks and not record.masked:
        raise UserError(f"methods.{setting.method}: learns from masks, and {record.name} has none; leave it out")
    batch = getattr(setting.options, "batch_size", 0)
    if batch > record.n_pretraining:
        where = "for pretraining (data.upstream) of" if record.n_upstream else "in the train pool of"
        raise UserError(
            f"{setting.method}.batch_size: {batch} is more than the {record.n_pretraining} images {where} {record.name}"
        )
