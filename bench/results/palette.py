"""Colours, dashes and symbols of entrants: the same entrant looks the same in every figure, whatever is filtered."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

# Chosen to stay apart under simulated deuteranopia and protanopia (CIE76 distance >= 10) and to show, at a contrast of
# 2.4 or more, on a white page and on a near-black one: a page may be looked at in either.
COLOURS = ("#1F77B4", "#C4461F", "#0FA37F", "#6A4FBF", "#D39B00", "#B83A8C", "#45AEE0")
GREY = "#858C97"
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "star")
DASHES = ("solid", "dash", "dashdot", "longdash")
REFERENCE_DASHES = ("dot", "dash", "dashdot", "longdash")


@dataclass(frozen=True)
class Style:
    """How one entrant is drawn; colour is never the only difference between two."""

    colour: str
    dash: str
    symbol: str

    def fill(self, opacity: float) -> str:
        """The colour as `rgba(...)`, for bands."""
        red, green, blue = (int(self.colour[start : start + 2], 16) for start in (1, 3, 5))
        return f"rgba({red},{green},{blue},{opacity})"


def styles(entrants: Sequence[str], reference: Collection[str] = ()) -> dict[str, Style]:
    """The style of each entrant: colours in the order given, the reference entrants grey and dashed."""
    rivals = [name for name in entrants if name not in reference]
    fixed = [name for name in entrants if name in reference]
    coloured = {
        name: Style(
            COLOURS[place % len(COLOURS)],
            DASHES[place // len(COLOURS) % len(DASHES)],
            SYMBOLS[(place + place // len(COLOURS)) % len(SYMBOLS)],
        )
        for place, name in enumerate(rivals)
    }
    grey = {
        name: Style(GREY, REFERENCE_DASHES[place % len(REFERENCE_DASHES)], f"{SYMBOLS[place % len(SYMBOLS)]}-open")
        for place, name in enumerate(fixed)
    }
    return {**coloured, **grey}
