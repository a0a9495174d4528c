"""Self-masking networks, arXiv 2409.07577: which weights of a frozen backbone to keep, learned without labels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.func import functional_call

from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.base import Method
from bench.methods.encoder import load_encoder
from bench.methods.feature_maps import Encoder
from bench.methods.mask_codec import MASK, Mask, collect_mask, load_mask, measure_mask, save_mask
from bench.methods.masks import RandomScores, Scores, TopScores, apply_mask, batch_norms, masked_names
from bench.methods.swav import Swav
from bench.methods.timm_encoder import TimmEncoder, published_normalisation
from bench.study.encoders import TIMM_PREFIX, is_timm
from bench.study.methods.self_masking import SelfMaskingOptions

MOMENTUM = 0.9


class SelfMasking(Method):
    """SwAV whose backbone is seen through masks: the scores learn, the weights stay; or a control (`mode`)."""

    def __init__(
        self, options: SelfMaskingOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        task = Swav(options, shape, mean, std)
        if options.weights is not None or options.pretrained:
            task.backbone = read_backbone(options, task.backbone)
        super().__init__(task.backbone)
        self.task = task
        self.options = options
        self.backbone.requires_grad_(options.mode == "full")
        network = self.backbone.backbone
        if options.mode == "batchnorm" and not batch_norms(network):
            raise UserError(f"{options.name}.mode: 'batchnorm': {options.encoder!r} has no batch norm")
        self.scores = make_scores(options, network)
        self.initial = {name: buffer.clone() for name, buffer in network.named_buffers()}

    def train(self, mode: bool = True) -> SelfMasking:
        """As torch's; frozen running statistics are those that normalise in training too."""
        super().train(mode)
        if "frozen" in (self.options.running_statistics, self.options.mode):
            for norm in batch_norms(self.backbone):
                norm.eval()
        return self

    def optimizer(self) -> torch.optim.Optimizer:
        """SGD with momentum: under theorems 1 and 2 the scores have no decay and no rate per element."""
        options = self.options
        rest = {"params": [weight for weight in self.task.parameters() if weight.requires_grad]}
        groups = [rest | {"weight_decay": options.weight_decay}]
        if self.scores is not None and options.mode != "random_mask":
            scale = options.score_lr / options.lr
            groups.append({"params": list(self.scores.parameters()), "weight_decay": 0.0, "lr_scale": scale})
        return torch.optim.SGD(groups, lr=options.lr, momentum=MOMENTUM)

    def begin_step(self, step: int, steps: int, epoch: int) -> None:
        self.task.begin_step(step, steps, epoch)

    def loss(self, images: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """SwAV's, of the masked network: one mask for all crops."""
        if self.scores is None:
            return self.task(images, draws)
        weights = self.scores.weights(self.backbone.backbone, scale_gradient=self.options.scale_gradient)
        masked = {f"backbone.backbone.{name}": weight for name, weight in weights.items()}
        loss, logged = functional_call(self.task, masked, (images, draws))
        share = torch.stack([mask.mean() for mask in self.scores.masks()]).mean().detach()
        return loss, logged | {"mean_density": share}

    def adjust_gradients(self) -> None:
        self.task.adjust_gradients()

    def end_step(self) -> None:
        self.task.end_step()

    @torch.no_grad()
    def encoder(self) -> Encoder:
        """A plain encoder with the masked and scaled weights in place; a copy, unless all weights learn."""
        if self.scores is None:
            return self.backbone
        encoder = copy.deepcopy(self.backbone)
        for name, bits in self.scores.chosen().items():
            weight = encoder.backbone.get_parameter(name)
            weight.copy_(apply_mask(weight.cpu(), bits.to(weight.dtype)))  # on the CPU, as a mask file is applied
        return encoder

    def mask(self) -> Mask | None:
        """What was learned, as it is stored beside the shared backbone; None where all weights learn."""
        if self.options.mode == "full":
            return None
        bits = {} if self.scores is None else self.scores.chosen()
        return collect_mask(self.backbone.backbone, bits, self.initial, self.options.encoder)

    def save_extra(self, folder: Path) -> None:
        """Writes the mask file, entropy-coded."""
        mask = self.mask()
        if mask is not None:
            save_mask(mask, folder / MASK)

    def measurements(self) -> dict[str, float]:
        """How the prototypes are used (`Usage.measurements`), and what the mask takes (`measure_mask`)."""
        mask = self.mask()
        return self.task.measurements() | ({} if mask is None else measure_mask(mask))

    def preview(self, images: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The crops that predict each other, stretched to the size of the image."""
        return self.task.preview(images, draws)


def make_scores(options: SelfMaskingOptions, network: torch.nn.Module) -> Scores | None:
    """The scores over the masked parameters; None in the modes that mask nothing.

    Raises:
        UserError: the network has none of the parameters asked for, or a density is missing for one.
    """
    if options.mode in ("full", "batchnorm", "frozen"):
        return None
    names = masked_names(network, options.masked, f"{options.name}.masked")
    if options.mode == "mask":
        return Scores(network, names, threshold=options.threshold, initial=options.score_init)
    densities = dict.fromkeys(names, options.density) if options.densities is None else read_densities(options, names)
    return (TopScores if options.mode == "topk" else RandomScores)(network, names, densities)


def read_densities(options: SelfMaskingOptions, names: Sequence[str]) -> dict[str, float]:
    """The share of open weights of every masked tensor, as a mask file has it.

    Raises:
        UserError: there is no such file, or it masks none of one of the tensors.
    """
    path = Path(str(options.densities)).expanduser()
    bits = load_mask(path / MASK if path.is_dir() else path).bits
    lacking = [name for name in names if name not in bits]
    if lacking:
        raise UserError(
            f"{options.name}.densities: {options.densities!r} has no mask of {lacking[0]!r}, which {options.encoder!r} "
            f"has ({len(lacking)} of {len(names)} are missing)"
        )
    return {name: float(bits[name].double().mean()) for name in names}


def read_backbone(options: SelfMaskingOptions, built: Encoder) -> Encoder:
    """The frozen network that the options name, read through the normalisation it was trained with.

    Args:
        options: with `weights` or `pretrained`.
        built: the same network, initialised at random.

    Raises:
        UserError: weights that cannot be had, or that belong to another network or image shape.
    """
    path = None if options.weights is None else Path(options.weights).expanduser()
    if path is not None and path.is_dir():
        return _same_network(load_encoder(path), built, options)
    if path is not None and not path.is_file():
        raise UserError(f"{options.name}.weights: there is no file or folder {options.weights!r}")
    if not is_timm(options.encoder):
        raise UserError(
            f"{options.name}.weights: {options.weights!r} is a file; weights of {options.encoder!r} are read from the "
            f"folder that an earlier study kept (RESULTS/artifacts/encoders/KEY)"
        )
    name, weights = options.encoder.removeprefix(TIMM_PREFIX), None if path is None else str(path)
    mean, std = published_normalisation(name, built.shape.channels)
    return TimmEncoder(
        built.shape,
        mean,
        std,
        name=name,
        patch_size=options.patch_size,
        weights=weights,
        pretrained=options.pretrained,
        key=f"{options.name}.weights",
    )


def _same_network(found: Encoder, built: Encoder, options: SelfMaskingOptions) -> Encoder:
    """The encoder of the folder. Raises UserError, naming both, unless it is the network and shape of the options."""
    differs = [
        f"{what}: {theirs} there, {ours} here"
        for what, theirs, ours in (
            ("network", type(found).__name__, type(built).__name__),
            ("images", "x".join(map(str, found.shape)), "x".join(map(str, built.shape))),
            ("sizes", found.arguments, built.arguments),
        )
        if theirs != ours
    ]
    if differs:
        raise UserError(
            f"{options.name}.weights: {options.weights!r} is another network than {options.encoder!r} "
            f"({'; '.join(differs)})"
        )
    return found
