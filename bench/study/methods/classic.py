"""Options of the features that predate pretext tasks: hand-made, or fitted to unlabelled pixels in closed form."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from bench.errors import UserError
from bench.study.methods.options import MethodOptions

HOG_CELLS = 8  # cells along the short side that the default cell aims at: the customary 8 px cell of a 64 px image
FITTED_SIDE = 32  # pixels; larger images are area-pooled first, as both papers' images were about that small


class ClassicOptions(MethodOptions):
    """Options of every feature here: nothing is pretrained by gradient."""

    trains: ClassVar[bool] = False

    def check_shape(self, height: int, width: int) -> None:
        """Raises UserError where images of this many pixels are too small for the options."""


class HogOptions(ClassicOptions):
    """Histograms of oriented gradients: local edge directions, normalised over blocks; nothing is learned."""

    name: ClassVar[str] = "hog"
    version: ClassVar[int] = 1
    seeded: ClassVar[bool] = False
    paper: ClassVar[str] = "Dalal & Triggs, CVPR 2005"

    orientations: int = Field(9, ge=2, le=64, description="bins of the edge direction over half a turn")
    cell_size: int | None = Field(None, ge=2, description="side of a cell in pixels; null: short side / 8, at least 2")
    block_size: int = Field(2, ge=1, description="side in cells of the blocks over which histograms are normalised")

    def check_shape(self, height: int, width: int) -> None:
        self.cell(height, width)

    def cell(self, height: int, width: int) -> int:
        """Side in pixels of the cells on such images.

        Raises:
            UserError: one block of cells is larger than the image.
        """
        short = min(height, width)
        cell = self.cell_size or max(2, round(short / HOG_CELLS))
        if cell * self.block_size > short:
            raise UserError(
                f"{self.name}.cell_size: a block of {self.block_size} cells of {cell} pixels is larger than an image "
                f"of {height} x {width} pixels; valid with this block_size: 2 to {short // self.block_size}"
            )
        return cell


class PcaPixelsOptions(ClassicOptions):
    """PCA-whitened pixels: the train pool's leading directions, each scaled to variance one."""

    name: ClassVar[str] = "pca_pixels"
    version: ClassVar[int] = 1
    seeded: ClassVar[bool] = False
    paper: ClassVar[str] = "Hyvarinen & Oja, Neural Networks 2000, section 5.2"

    components: int = Field(128, ge=1, description="directions kept; never more than pixels x channels")
    samples: int = Field(10_000, ge=2, description="train-pool images the directions are fitted to, at most")
    size: int = Field(FITTED_SIDE, ge=1, description="side in pixels to which larger images are area-pooled first")


class KmeansPatchesOptions(ClassicOptions):
    """Single-layer features: whitened patches against a K-means dictionary, pooled over the image's quadrants."""

    name: ClassVar[str] = "kmeans_patches"
    version: ClassVar[int] = 1
    paper: ClassVar[str] = "Coates, Lee & Ng, An Analysis of Single-Layer Networks, AISTATS 2011"

    centroids: int = Field(256, ge=2, description="entries of the dictionary; the features are four times as many")
    patch: int = Field(6, ge=2, description="side of a patch in pixels, the paper's receptive field")
    stride: int = Field(1, ge=1, description="pixels between patches")
    patches: int = Field(50_000, ge=2, description="random train-pool patches the dictionary is fitted to")
    whitening: float = Field(0.1, gt=0, description="added to the eigenvalues of the normalised patches' covariance")
    size: int = Field(FITTED_SIDE, ge=4, description="side in pixels to which larger images are area-pooled first")

    @model_validator(mode="after")
    def _enough_patches(self) -> Self:
        if self.patches < self.centroids:
            raise UserError(
                f"{self.name}.patches: {self.patches} patches cannot make {self.centroids} centroids; "
                f"valid: {self.centroids} or more"
            )
        return self

    def check_shape(self, height: int, width: int) -> None:
        """Raises UserError where no patch fits into each quadrant's share of an image of this many pixels."""
        short = min(height, width, self.size)
        if self.patch + self.stride > short:
            raise UserError(
                f"{self.name}.patch: patches of {self.patch} pixels at stride {self.stride} leave no two places along "
                f"{short} pixels, and the features are pooled over quadrants; valid at this stride: 2 to "
                f"{short - self.stride}"
            )
