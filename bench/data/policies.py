"""Augmentation policies: each a handful of strengths under a name (torch-free)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.errors import UserError, unknown


@dataclass(frozen=True)
class Policy:
    """Strengths of one augmentation; the defaults change nothing.

    Ranges are (least, most). `area` is the share of the image a crop keeps and `aspect` its width over height relative
    to the image's (arXiv 1409.4842); `shift` is a share of the side; `rotation` and `shear` are the largest angles in
    degrees; the chances `flip` ... `solarize` are in [0, 1]; `brightness` ... `hue` are the largest changes of colour
    jitter (`hue` in turns), applied with chance `jitter`; `padding` is what lies outside the image ("zeros" for ink on
    black, "reflection" for photographs).
    """

    area: tuple[float, float] = (1.0, 1.0)
    aspect: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.0
    flip_vertical: float = 0.0
    rotation: float = 0.0
    shift: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    shear: float = 0.0
    jitter: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    gray: float = 0.0
    blur: float = 0.0
    sigma: tuple[float, float] = (0.1, 2.0)
    solarize: float = 0.0
    padding: str = "reflection"

    @property
    def crops(self) -> bool:
        """Whether a part of the image is cut out."""
        return self.area != (1.0, 1.0) or self.aspect != (1.0, 1.0)

    @property
    def bends(self) -> bool:
        """Whether the image is rotated, shifted, zoomed or sheared."""
        return bool(self.rotation or self.shift or self.shear) or self.zoom != (1.0, 1.0)


_ASPECT = (3 / 4, 4 / 3)
# SimCLR at the strength its authors use for small images, arXiv 2002.05709, appendix B.9
_SIMCLR = Policy(
    area=(0.08, 1.0),
    aspect=_ASPECT,
    flip=0.5,
    jitter=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    gray=0.2,
)

POLICIES: dict[str, Policy] = {
    "none": Policy(),
    "crop": Policy(area=(0.2, 1.0), aspect=_ASPECT),
    "crop_flip": Policy(area=(0.2, 1.0), aspect=_ASPECT, flip=0.5),
    # MAE's ablation (arXiv 2111.06377, table 1e) names no strengths: those of SimCLR
    "crop_jitter": replace(_SIMCLR, area=(0.2, 1.0), flip=0.0, gray=0.0),
    "aerial": Policy(area=(0.2, 1.0), aspect=_ASPECT, flip=0.5, flip_vertical=0.5),
    # digits and characters: a mirrored or half-cropped one is another character
    "affine": Policy(rotation=10.0, shift=0.1, zoom=(0.9, 1.1), shear=5.0, padding="zeros"),
    "simclr": _SIMCLR,
    # DINO, arXiv 2104.14294: BYOL's second view
    "dino": replace(_SIMCLR, area=(0.4, 1.0), blur=0.5, solarize=0.2),
}


def find_policy(name: str) -> Policy:
    """The policy of this name.

    Raises:
        UserError: there is none; the message lists those there are.
    """
    if name not in POLICIES:
        raise unknown("augmentation", name, POLICIES)
    return POLICIES[name]


def check_bands(name: str, channels: int) -> None:
    """Checks that the images have what a policy changes.

    Raises:
        UserError: the policy changes colours, and the images are neither grey nor RGB.
    """
    if channels in (1, 3) or not _colours(find_policy(name)):
        return
    valid = ", ".join(other for other, policy in POLICIES.items() if not _colours(policy))
    raise UserError(f"{name!r} jitters colours, which images of {channels} bands have not; valid here: {valid}")


def _colours(policy: Policy) -> bool:
    return bool(policy.jitter or policy.gray or policy.solarize)
