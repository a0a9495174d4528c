"""What cannot be asked of methods that leave one vector of several networks behind, and neither maps nor depth."""

from __future__ import annotations

from bench.errors import UserError
from bench.study.methods import MethodOptions
from bench.study.protocols import FewShotOptions, FinetuneOptions, FusionOptions, ProtocolOptions, SegmentationOptions

_DEPTH = {"last_blocks": None, "layer_decay": 1.0, "drop_path": 0.0}  # options that read the depth, as they are off


def check_one_vector(entry: ProtocolOptions, options: MethodOptions, key: str) -> None:
    """Checks what an entry asks of a cascade; other methods leave a network behind.

    Args:
        entry: of the study.
        options: of a method that it judges.
        key: of the entry, for the message.

    Raises:
        UserError: it reads maps, patch tokens or several positions, or the depth of the network.
    """
    if not options.own_layers:
        return
    left = f"of {options.name}, which leaves one vector of several networks"
    if isinstance(entry, SegmentationOptions):
        raise UserError(f"{key}.protocol: segmentation reads maps {left}; valid: {_judges(key)}")
    if isinstance(entry, FewShotOptions):
        raise UserError(f"{key}.protocol: few_shot reads patch tokens {left}; valid: {_judges(key)}")
    if isinstance(entry, FusionOptions) and "cross_attention" in entry.fuse:
        raise UserError(f"{key}.fuse: 'cross_attention' reads several positions {left}; valid here: concat, gated")
    if isinstance(entry, FinetuneOptions):
        for name, off in _DEPTH.items():
            if getattr(entry, name) != off:
                valid = "null" if off is None else f"{off:g}"
                raise UserError(f"{key}.{name}: {getattr(entry, name)} asks for the depth {left}; valid here: {valid}")


def _judges(key: str) -> str:
    return f"protocols of one vector per image (linear, knn, finetune), or {key}.methods without it"
