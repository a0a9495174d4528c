"""What reads files of others, by name; imported when it is asked for, as some take seconds."""

from __future__ import annotations

from importlib import import_module

from tests.fuzz.harness import Target

NAMES = {
    "study_yaml": "study.STUDY_YAML",
    "overrides": "study.OVERRIDES",
    "image": "pictures.IMAGE",
    "palette": "pictures.PALETTE",
    "fragment": "store.FRAGMENT",
    "mask_codec": "masks.MASK_CODEC",
    "mask_file": "masks.MASK_FILE",
    "table": "listed.TABLE",
    "coco": "listed.COCO",
    "shards": "listed.SHARDS",
}


def target(name: str) -> Target:
    """The target of this name."""
    module, _, attribute = NAMES[name].partition(".")
    found: Target = getattr(import_module(f"tests.fuzz.targets.{module}"), attribute)
    return found
