"""What reads files of others, by name."""

from __future__ import annotations

from tests.fuzz.harness import Target
from tests.fuzz.targets.listed import COCO, SHARDS, TABLE
from tests.fuzz.targets.masks import MASK_CODEC, MASK_FILE
from tests.fuzz.targets.pictures import IMAGE, PALETTE
from tests.fuzz.targets.store import FRAGMENT
from tests.fuzz.targets.study import OVERRIDES, STUDY_YAML

TARGETS: dict[str, Target] = {
    "study_yaml": STUDY_YAML,
    "overrides": OVERRIDES,
    "image": IMAGE,
    "palette": PALETTE,
    "fragment": FRAGMENT,
    "mask_codec": MASK_CODEC,
    "mask_file": MASK_FILE,
    "table": TABLE,
    "coco": COCO,
    "shards": SHARDS,
}
