"""Few-shot episodes a processor second as bench takes them, against the published system written plainly, on the CPU.

    python benchmarks/few_shot.py            # three encoders up to the published one, training and test
    python benchmarks/few_shot.py --quick    # the smallest encoder, about a minute
    python benchmarks/few_shot.py --encoder vit_tiny

The plain side follows arXiv 2307.03407 as one would type it in: the backbone runs on query and support of every
episode, all tokens in fp32, torch's own convolutions of 1 x 1, keys and values of all support tokens, queries and short
cuts over all of them before they are pooled, scores of attention written out. Our side encodes each image once, which
is charged to the episodes that read it (`--train-share` and `--test-share`: images encoded per episode). Batches are
taken in turn, pair after pair, and processor time is counted, so that a busy machine hurts neither side more; the ratio
is the median over the pairs, with a bootstrap interval. Before anything is timed, both sides answer the same episodes
with the same weights, and the losses must agree.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from pairs import write
from torch import Tensor, nn
from torch.nn import functional

from bench.data.episodes import Episode, Episodes, stack
from bench.data.shape import ImageShape
from bench.methods.encoder import Encoder
from bench.methods.registry import build_method
from bench.protocols.cst import HEADS, Cst, Pointwise, squeezed
from bench.protocols.few_shot_data import PairData
from bench.protocols.few_shot_training import guess, loss
from bench.protocols.tokens import TokenStore
from bench.study.methods import RandomInitOptions
from bench.study.protocols import FewShotOptions

IMAGES, CLASSES, AGREE = 24, 3, 0.01


@dataclass(frozen=True)
class Case:
    """One surface: encoder, image side, patch side, episodes of a batch."""

    encoder: str
    side: int
    patch: int
    batch: int


QUICK = (Case("vit_nano", 64, 8, 12),)
CASES = (*QUICK, Case("vit_tiny", 96, 8, 12), Case("vit_small", 400, 8, 1))


class PlainBlock(nn.Module):
    """A block over the support axis: names as in `bench.protocols.cst.SupportBlock`, order as published."""

    def __init__(self, ours: nn.Module) -> None:
        super().__init__()
        for name, part in ours.named_children():
            setattr(self, name, part)

    def forward(self, x: Tensor, seen: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """[N, C, T_q, 1 + T_in] -> [N, width, T_q, 1 + T_out]."""
        query, key, value = pool(self.query(x), grid, size), self.key(x), self.value(x)
        count, hidden, columns = value.shape[:3]
        parts = [part.reshape(count, HEADS, hidden // HEADS, columns, -1) for part in (query, key, value)]
        scores = torch.einsum("nhdqo,nhdqi->nhqoi", parts[0], parts[1])
        scores = scores.masked_fill(~seen[:, None, None, None], -1e9).softmax(dim=-1)
        mixed = torch.einsum("nhqoi,nhdqi->nhdqo", scores, parts[2]).reshape(count, hidden, columns, -1)
        convolved, norm, relu = self.shortcut
        y = self.norm(self.mix(mixed) + relu(norm(pool(convolved(x), grid, size))))
        return self.feed_norm(y + self.feed(y))


def pool(x: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Averages the image tokens of the support axis from grid to size, the class token left alone."""
    images = x[..., 1:].reshape(*x.shape[:-1], *grid).flatten(0, 2)
    averaged = functional.adaptive_avg_pool2d(images, size).reshape(*x.shape[:-1], -1)
    return torch.cat([x[..., :1], averaged], dim=-1)


def plainly(network: nn.Module) -> nn.Module:
    """The network with torch's own convolutions of 1 x 1, in place; the weights are the same."""
    for name, part in network.named_children():
        if isinstance(part, Pointwise):
            convolution = nn.Conv2d(part.in_channels, part.out_channels, 1, bias=part.bias is not None)
            convolution.weight, convolution.bias = part.weight, part.bias
            setattr(network, name, convolution)
        else:
            plainly(part)
    return network


class Plain:
    """Backbone, correlation and head; its weights are those of ours when it is made."""

    def __init__(self, encoder: Encoder, network: Cst, data: PairData) -> None:
        self.encoder, self.data = encoder, data
        self.head = plainly(Cst(data.tokens.channels, data.tokens.grid, data.support_grid))
        self.head.load_state_dict(network.state_dict())
        self.blocks = [PlainBlock(block) for block in self.head.blocks]

    @torch.no_grad()
    def tokens(self, images: np.ndarray) -> Tensor:
        """Of every block, through the final norm: [N, L, 1 + T, D], from the pixels of these images."""
        pixels = torch.from_numpy(self.data.tokens.images[images]).permute(0, 3, 1, 2).float() / 255
        backbone = self.encoder.backbone
        x, found = backbone.norm_pre(backbone._pos_embed(backbone.patch_embed(self.encoder.normalise(pixels)))), []
        for block in backbone.blocks:
            x = block(x)
            found.append(backbone.norm(x))
        return torch.stack(found, dim=1)

    def correlation(self, query: np.ndarray, support: np.ndarray) -> Tensor:
        """Cosines, head by head: [N, L * heads, T_q, 1 + T_s]."""
        asked, shown, heads = self.tokens(query)[:, :, 1:], self.tokens(support), self.data.tokens.heads
        patches = shown[:, :, 1:].flatten(0, 1).transpose(1, 2).unflatten(2, self.data.tokens.grid)
        small = functional.interpolate(patches, self.data.support_grid, mode="bilinear", align_corners=True)
        small = small.flatten(2).transpose(1, 2).unflatten(0, shown.shape[:2])
        shown = torch.cat([shown[:, :, :1], small], dim=2)
        left, right = (functional.normalize(part.unflatten(-1, (heads, -1)), dim=-1) for part in (asked, shown))
        return torch.einsum("nlqhd,nlshd->nlhqs", left, right).flatten(1, 2)

    def logits(self, episode: Episode) -> tuple[Tensor, Tensor]:
        """Two-way logits of presence and mask of 1-way 1-shot episodes."""
        support, labels = episode.support[:, 0, 0], episode.classes[:, 0]
        masks = self.data.support_masks(support, labels)
        x, grid = self.correlation(episode.query, support), self.data.support_grid
        for block, size in zip(self.blocks, (squeezed(grid), (1, 1)), strict=True):
            cells = functional.adaptive_max_pool2d(masks[:, None].float(), grid).flatten(1) > 0
            x, grid = block(x, functional.pad(cells, (1, 0), value=True), grid, size), size
        maps = self.head.linear(x).unflatten(2, self.data.tokens.grid)
        logits = functional.interpolate(self.head.mask(maps[..., 1]), self.data.size, mode="bilinear")
        return self.head.presence(maps[..., 0]).mean(dim=(2, 3)), logits

    def loss(self, episode: Episode) -> Tensor:
        presence, maps = self.logits(episode)
        targets = self.data.targets(episode.query, episode.classes[:, 0], episode.support[:, 0, 0])
        present = torch.from_numpy(episode.present[:, 0]).long()
        return 0.1 * functional.cross_entropy(presence, present) + functional.cross_entropy(maps, targets)


def squares(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of noise with a square of each image's class and, in every other one, of the next."""
    numbers = np.random.default_rng(0)
    pixels = numbers.integers(0, 256, (IMAGES, side, side, 3)).astype(np.uint8)
    masks = np.full((IMAGES, side, side), CLASSES, np.uint8)
    half = side // 2
    for image in range(IMAGES):
        masks[image, :half, :half] = image % CLASSES
        if image % 2:
            masks[image, half:, half:] = (image + 1) % CLASSES
    return pixels, masks


def sides(case: Case) -> tuple[PairData, Episodes, Cst, Plain]:
    """Both sides on the same images, episodes and weights."""
    options = RandomInitOptions(encoder=case.encoder, patch_size=case.patch)
    shape = ImageShape(3, case.side, case.side)
    encoder = build_method("random_init", options, shape, [0.5] * 3, [0.3] * 3, 0).encoder().eval()
    pixels, masks = squares(case.side)
    histograms = np.stack([(masks == label).sum((1, 2)) for label in range(CLASSES)], axis=1)
    tokens = TokenStore(encoder, pixels, np.arange(IMAGES), "last", 8.0, "cpu")
    data = PairData(tokens, masks, histograms, np.ones(IMAGES, bool), FewShotOptions())
    episodes = Episodes(histograms, np.arange(IMAGES), tuple(range(CLASSES)), 1, 1, ("benchmark",))
    torch.manual_seed(0)
    network = Cst(tokens.channels, tokens.grid, data.support_grid)
    return data, episodes, network, Plain(encoder, network, data)


def trainer(network: nn.Module, value: Callable[[Episode], Tensor], fused: bool) -> Callable[[Episode], float]:
    """A step of Adam on the loss of an episode."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=fused)

    def step(episode: Episode) -> float:
        optimizer.zero_grad(set_to_none=True)
        found = value(episode)
        found.backward()
        optimizer.step()
        return found.item()

    return step


def timed(work: Callable[[], object]) -> float:
    """Processor seconds."""
    began = time.process_time()
    work()
    return time.process_time() - began


def measure(case: Case, pairs: int) -> list[dict[str, object]]:
    """Processor seconds a batch of either side takes in training and test, and our side to encode an image.

    Raises:
        RuntimeError: the sides do not agree on the losses of the first steps.
    """
    data, episodes, network, plain = sides(case)
    batches = [
        stack([episodes[number] for number in range(first * case.batch, (first + 1) * case.batch)])
        for first in range(pairs + 2)
    ]
    ours = trainer(network, lambda episode: loss(network.train(), data, episode), fused=True)
    theirs = trainer(plain.head, plain.loss, fused=False)
    for batch in batches[:2]:
        losses = ours(batch), theirs(batch)
        if abs(losses[0] / losses[1] - 1) > AGREE:
            raise RuntimeError(f"{case}: the losses differ: ours {losses[0]}, plain {losses[1]}")
    some = np.arange(min(case.batch, IMAGES))
    parts: dict[str, list[tuple[float, float, float]]] = {"training": [], "test": []}
    for batch in batches[2:]:
        encode = timed(lambda: data.tokens.encode(some)) / len(some)
        parts["training"].append((timed(lambda b=batch: ours(b)), encode, timed(lambda b=batch: theirs(b))))
        with torch.no_grad():
            asked = timed(lambda b=batch: guess(network.eval(), data, b))
            answered = timed(lambda b=batch: plain.logits(b)[1].softmax(dim=1))
        parts["test"].append((asked, encode, answered))
    return [{**asdict(case), "phase": phase, "seconds": seconds} for phase, seconds in parts.items()]


def ratios(result: dict[str, object], share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Episodes a second of either side, pair by pair, and how many times more ours are; encoding charged."""
    work, encode, plain = np.array(result["seconds"]).T
    batch = int(str(result["batch"]))
    ours = batch / (work + share * batch * encode)
    return ours, batch / plain, ours * plain / batch


def report(results: Sequence[dict[str, object]], shares: dict[str, float]) -> None:
    """Prints a line for each case and phase: median episodes a second, and the ratio's median with its interval."""
    print(f"{'encoder':>10} {'side':>4} {'batch':>5} {'phase':>8} {'ours/s':>8} {'plain/s':>8} {'ratio':>6}")
    numbers = np.random.default_rng(0)
    for result in results:
        ours, plain, ratio = ratios(result, shares[str(result["phase"])])
        medians = np.median(numbers.choice(ratio, (2000, len(ratio))), axis=1)
        low, high = np.percentile(medians, [2.5, 97.5])
        result |= {"ratio": float(np.median(ratio)), "low": float(low), "high": float(high)}
        between = f"(95 %: {low:.2f} to {high:.2f})" if len(ratio) > 1 else "(one pair)"
        print(
            f"{result['encoder']:>10} {result['side']:>4} {result['batch']:>5} {result['phase']:>8} "
            f"{np.median(ours):8.2f} {np.median(plain):8.2f} {np.median(ratio):6.2f} {between}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smallest encoder alone")
    parser.add_argument("--encoder", choices=[case.encoder for case in CASES], help="this one alone")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of batches that are timed")
    parser.add_argument("--cores", type=int, default=1, help="cores for either side")
    parser.add_argument("--train-share", type=float, default=1 / 80, help="images encoded per training episode")
    parser.add_argument("--test-share", type=float, default=1 / 4, help="images encoded per test episode")
    parser.add_argument("--output", type=Path, default=None, help="where the JSON goes")
    options = parser.parse_args()
    torch.set_num_threads(options.cores)
    shares = {"training": options.train_share, "test": options.test_share}
    cases = [case for case in (QUICK if options.quick else CASES) if options.encoder in (None, case.encoder)]
    results = [result for case in cases for result in measure(case, options.pairs)]
    report(results, shares)
    write(options.output, {"threads": options.cores, "shares": shares, "cases": results})


if __name__ == "__main__":
    main()
