"""Which expert of a cascade an image goes to: a Gaussian mixture over whitened features (arXiv 2409.07577, 3.4)."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn
from torch.nn import functional

from bench.errors import UserError
from bench.methods.fitted import whitening
from bench.seeds import named_seed

_CONSTANT = 1e-6  # standard deviation of a unit vector's entries, below which it is rounding


class Router(nn.Module):
    """Hard clusters: the component of a mixture with the highest posterior. Buffers in float64; nothing is trained."""

    weight: Tensor
    bias: Tensor
    means: Tensor
    factors: Tensor
    offsets: Tensor

    def __init__(self, features: int, dimensions: int, components: int) -> None:
        """A router whose numbers are still to be loaded.

        Args:
            features: width of the vectors it reads.
            dimensions: whitened directions that the mixture lies in.
            components: of the mixture.
        """
        super().__init__()
        sizes = {
            "weight": (dimensions, features),  # the whitening
            "bias": (dimensions,),
            "means": (components, dimensions),
            "factors": (components, dimensions, dimensions),  # Cholesky factors of the precisions
            "offsets": (components,),  # log of weight times determinant of the factor
        }
        for name, size in sizes.items():
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64))

    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        """The component of each vector: [N, features] -> int64 [N]; -1 where there are none.

        Only the direction of a vector counts.
        """
        if not len(self.offsets):
            return features.new_full((len(features),), -1, dtype=torch.int64)
        points = functional.normalize(features.double(), dim=1) @ self.weight.T + self.bias
        distances = torch.einsum("nkd,kde->nke", points[:, None] - self.means, self.factors).square().sum(dim=2)
        return (self.offsets - distances / 2).argmax(dim=1)

    def without(self, component: int) -> Router:
        """The router that sends a component's images to the next best of the others."""
        left = [place for place in range(len(self.offsets)) if place != component]
        router = Router(self.weight.shape[1], self.weight.shape[0], len(left))
        router.load_state_dict(
            {
                name: buffer[left] if name in ("means", "factors", "offsets") else buffer
                for name, buffer in self.named_buffers()
            }
        )
        return router


def fit_router(features: Tensor, *, components: int, dimensions: int, least: int, seed: int) -> Router:
    """Fits the mixture, and drops its smallest component until each of the others has enough images.

    Args:
        features: float [N, D] on the CPU; they are made unit vectors, and whitened.
        components: of the mixture.
        dimensions: directions that are kept, at most.
        least: images that each component must have.
        seed: of the fit.

    Raises:
        UserError: the features are all the same.
    """
    unit = functional.normalize(features.double(), dim=1).numpy()
    if unit.std(axis=0).max() < _CONSTANT:
        raise UserError("self_masking_cascade: the dispatcher gives all images the same features: there is no cluster")
    weight, bias = whitening(unit, dimensions, named_seed(seed, "whitening"))
    points = unit @ weight.T + bias
    mixture = GaussianMixture(components, random_state=named_seed(seed, "mixture") % 2**32).fit(points)
    factors = mixture.precisions_cholesky_
    router = Router(unit.shape[1], len(weight), components)
    numbers = {
        "weight": weight,
        "bias": bias,
        "means": mixture.means_,
        "factors": factors,
        "offsets": np.log(mixture.weights_) + np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1),
    }
    router.load_state_dict({name: torch.from_numpy(array) for name, array in numbers.items()})
    while len(router.offsets) > 1:
        sizes = torch.bincount(router(features), minlength=len(router.offsets))
        if sizes.min() >= least:
            break
        router = router.without(int(sizes.argmin()))
    return router
