"""A cascade of self-masking networks, arXiv 2409.07577 section 3.4: a dispatcher, and an expert for each cluster."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.data.batches import to_float
from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.base import Method, Stage
from bench.methods.cascade import PARTS, CascadeEncoder
from bench.methods.feature_maps import Encoder
from bench.methods.fitted import whitening
from bench.methods.mask_codec import Mask, mask_bytes
from bench.methods.router import Router, fit_router
from bench.methods.self_masking import SelfMasking
from bench.seeds import named_seed
from bench.study.methods import SelfMaskingCascadeOptions

BATCH = 256


class SelfMaskingCascade(Method):
    """The dispatcher is trained on all images, then an expert on each cluster of the dispatcher's features.

    Until the experts exist, the encoder is the dispatcher's.
    """

    def __init__(
        self, options: SelfMaskingCascadeOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        dispatcher = SelfMasking(options, shape, mean, std)
        super().__init__(dispatcher.backbone)
        self.dispatcher = dispatcher
        self.options = options
        self.made: CascadeEncoder | None = None
        self.masks: dict[str, Mask] = {}  # of the dispatcher and the experts, once all are trained
        self.sizes: list[int] = []  # images of each cluster

    def loss(self, images: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The dispatcher's; an expert is a method of its own (`stages`)."""
        return self.dispatcher.loss(images, draws)

    def optimizer(self) -> torch.optim.Optimizer:
        return self.dispatcher.optimizer()

    def begin_step(self, step: int, steps: int, epoch: int) -> None:
        self.dispatcher.begin_step(step, steps, epoch)

    def adjust_gradients(self) -> None:
        self.dispatcher.adjust_gradients()

    def end_step(self) -> None:
        self.dispatcher.end_step()

    def stages(self, images: np.ndarray, pool: np.ndarray, seed: int) -> Iterator[Stage]:
        """A training for every cluster that fills a batch; smaller ones are merged into the others."""
        dispatcher = self.dispatcher.encoder().eval()
        features = read_features(dispatcher, images, pool)
        router = self.make_router(features, named_seed(seed, "router"))
        routes = router(features).numpy()
        parts, masks, sizes = [dispatcher], {"dispatcher": self.dispatcher.mask()}, []
        for number in range(len(router.offsets)):
            members = pool[routes == number]
            name = f"expert_{number + 1}"
            expert = self.expert(named_seed(seed, name))
            epochs = self.options.expert_epochs or equal_steps(self.options, len(pool), len(members))
            yield Stage(name, expert, self.options.model_copy(update={"epochs": epochs}), members)
            parts.append(expert.encoder().eval())
            masks[name] = expert.mask()
            sizes.append(len(members))
        self.masks, self.sizes = masks, sizes
        self.made = assemble(parts, router, self.options, images, pool, named_seed(seed, "reduction"))

    def make_router(self, features: Tensor, seed: int) -> Router:
        """The router fitted to the pool's features [P, D]; an empty one, where there is nothing to route to."""
        options = self.options
        if not options.experts:
            return Router(features.shape[1], 0, 0)
        return fit_router(
            features,
            components=options.experts,
            dimensions=options.clusters_dimensions,
            least=options.batch_size,
            seed=seed,
        )

    def expert(self, seed: int) -> SelfMasking:
        """A copy of the dispatcher, its scores and running statistics included, under a new projection and prototypes.

        The seed is that of the new ones.
        """
        expert = copy.deepcopy(self.dispatcher)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            expert.task.head = expert.task.make_head()
        return expert

    def encoder(self) -> Encoder:
        return self.dispatcher.encoder() if self.made is None else self.made

    def save_extra(self, folder: Path) -> None:
        """Writes a mask file for the dispatcher and for each expert, all over the same backbone."""
        for name, mask in self.masks.items():
            (folder / f"mask_{name}.safetensors").write_bytes(mask_bytes(mask))

    def measurements(self) -> dict[str, float]:
        """The dispatcher's, and what the cascade takes: clusters, and bytes beside the shared backbone.

        `storage_ratio` is the paper's, bytes of all masks over those of the backbone in float32; `routing_bytes`, which
        it leaves out, are those of router and reduction.
        """
        found = self.dispatcher.measurements()
        if self.made is None:
            return found
        stored = sum(len(mask_bytes(mask)) for mask in self.masks.values())
        backbone = 4 * sum(parameter.numel() for parameter in self.backbone.backbone.parameters())
        router, reduction = self.made.backbone.router, self.made.backbone.reduction
        return found | {
            "experts_trained": float(len(self.sizes)),
            "smallest_cluster": float(min(self.sizes, default=0)),
            "largest_cluster": float(max(self.sizes, default=0)),
            "cascade_mask_bytes": float(stored),
            "storage_ratio": stored / backbone,
            "routing_bytes": float(sum(part.nbytes for part in (*router.buffers(), *reduction.parameters()))),
        }

    def preview(self, images: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The crops that predict each other, stretched to the size of the image."""
        return self.dispatcher.preview(images, draws)


def equal_steps(options: SelfMaskingCascadeOptions, everything: int, members: int) -> int:
    """Epochs of a cluster in which an expert takes about as many steps as the dispatcher did on all images."""
    return max(1, round(options.epochs * (everything // options.batch_size) / (members // options.batch_size)))


def assemble(
    parts: Sequence[Encoder],
    router: Router,
    options: SelfMaskingCascadeOptions,
    images: np.ndarray,
    pool: np.ndarray,
    seed: int,
) -> CascadeEncoder:
    """The cascade of these networks, its features reduced by PCA and whitened on the train pool.

    Args:
        parts: the dispatcher's encoder and the experts', on one device.
        router: to the experts.
        options: of the cascade.
        images: uint8 [N, H, W, C].
        pool: int64, the train pool.
        seed: of the PCA's solver.
    """
    first = parts[0]
    family = next(name for name, kind in PARTS.items() if type(first) is kind)
    with torch.random.fork_rng(devices=[]):  # initialised once more, and overwritten
        made = CascadeEncoder(
            first.shape,
            first.mean.flatten().tolist(),
            first.std.flatten().tolist(),
            family=family,
            network=first.arguments,
            experts=len(parts) - 1,
            dimensions=router.weight.shape[0],
            routing=options.routing,
        )
    for part, source in zip(made.backbone.parts, parts, strict=True):
        part.load_state_dict(source.state_dict())
    made.backbone.router.load_state_dict(router.state_dict())
    made.to(first.device).eval().requires_grad_(False)
    features = read_features(made, images, pool, made.side_by_side)
    weight, bias = whitening(features.double().numpy(), made.backbone.reduction.out_features, seed)
    made.backbone.reduction.weight.zero_()[: len(weight)] = torch.from_numpy(weight)
    made.backbone.reduction.bias.zero_()[: len(bias)] = torch.from_numpy(bias)
    return made


@torch.no_grad()
def read_features(
    encoder: Encoder, images: np.ndarray, pool: np.ndarray, run: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Features of the pool's images, float32 [P, D] on the CPU.

    Args:
        encoder: in evaluation mode.
        images: uint8 [N, H, W, C].
        pool: int64 [P].
        run: from normalised images to vectors; None: the encoder's own vectors.
    """
    found = []
    for rows in np.split(pool, range(BATCH, len(pool), BATCH)):
        batch = to_float(images[rows], encoder.device)
        found.append((encoder(batch) if run is None else run(encoder.normalise(batch))).float().cpu())
    return torch.cat(found)
