"""Prototypes: what views of one image are assigned to, and predict of each other (arXiv 2006.09882, 2104.14294)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.methods.gather import gather, rank_of
from bench.methods.sinkhorn import sinkhorn

EPSILON = 1e-5  # added to variances
MEMORY = 0.9  # of the running means that are measured: about the last ten steps


def swapped_prediction(codes: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of every view's logits against the code of every other view that has one.

    Equation 2 of DINO, and SwAV's with more crops: -sum_k code_k log softmax(logits)_k, the mean over images and pairs
    of different views. Codes sum to 1, so a pair is logsumexp(logits) - code . logits and no probability is kept.

    Args:
        codes: float [G, N, K], of the first G views.
        logits: float [V, N, K], of all V > 1 views.

    Returns:
        A scalar.
    """
    views, count, _ = logits.shape
    own = torch.arange(len(codes), device=codes.device)
    agreement = codes.flatten(1) @ logits.flatten(1).T  # [G, V], summed over the images
    spread = logits.logsumexp(dim=2).sum(dim=1)  # [V]
    pairs = len(codes) * (views - 1)
    predicted = len(codes) * spread.sum() - spread[: len(codes)].sum()
    return (predicted - agreement.sum() + agreement[own, own].sum()) / (pairs * count)


def unit_rows(count: int, width: int) -> nn.Parameter:
    """Prototypes in random directions, [count, width]."""
    return nn.Parameter(functional.normalize(torch.randn(count, width), dim=1))


class BatchNorm(nn.Module):
    """Batch norm over the vectors of all workers, for a head: statistics of the batch at hand, none that run."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, vectors: Tensor, workers: int) -> Tensor:
        """[..., width] -> [..., width], in float32."""
        rows = vectors.flatten(0, -2).float()
        moments = torch.stack([rows.mean(dim=0), rows.square().mean(dim=0)])
        mean, square = gather(moments.unsqueeze(0), workers).mean(dim=0)
        scale = (square - mean.square()).clamp_min(0).add(EPSILON).rsqrt()
        return (vectors - mean) * (scale * self.weight) + self.bias


class Usage(nn.Module):
    """Running means of how images spread over prototypes, of the global batches."""

    share: Tensor
    entropy: Tensor

    def __init__(self, prototypes: int) -> None:
        super().__init__()
        self.register_buffer("share", torch.full((prototypes,), 1 / prototypes))
        self.register_buffer("entropy", torch.tensor(prototypes).log())
        self._latest: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def observe(self, probabilities: Tensor, workers: int) -> None:
        """Takes note of this worker's assignments [..., prototypes]; `update` makes them count."""
        rows = probabilities.flatten(0, -2)
        entropy = torch.special.entr(rows).sum(dim=1).mean()
        latest = gather(torch.cat([rows.mean(dim=0), entropy.view(1)]).unsqueeze(0), workers).mean(dim=0)
        self._latest = (latest[:-1], latest[-1])

    @torch.no_grad()
    def update(self) -> None:
        """Moves the means by what was observed last."""
        if self._latest is not None:
            self.share.lerp_(self._latest[0], 1 - MEMORY)
            self.entropy.lerp_(self._latest[1], 1 - MEMORY)
            self._latest = None

    def measurements(self) -> dict[str, float]:
        """prototypes_used: exp of the entropy of the prototypes' shares, 1 if all images go to one of them.
        assignment_entropy: mean entropy of an image's assignment in nats, 0 if every image has one prototype."""
        used = torch.special.entr(self.share).sum().exp()
        return {"prototypes_used": float(used), "assignment_entropy": float(self.entropy)}


class Projection(nn.Module):
    """Linear, batch norm, ReLU, linear; with a hidden width of 0 one linear layer (arXiv 2409.07577)."""

    def __init__(self, features: int, width: int, out: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, width) if width else None
        self.norm = BatchNorm(width) if width else None
        self.last = nn.Linear(width or features, out)

    def forward(self, vectors: Tensor, workers: int) -> Tensor:
        """[..., features] -> [..., out]; the statistics are those of all workers' vectors."""
        if self.hidden is not None and self.norm is not None:
            vectors = self.norm(self.hidden(vectors), workers).relu()
        return self.last(vectors)


class SwavHead(nn.Module):
    """What SwAV trains on top of an encoder: a projection, the prototypes, and the queues of earlier images."""

    queue: Tensor

    def __init__(
        self,
        features: int,
        *,
        width: int,
        out: int,
        prototypes: int,
        queue: int,
        temperature: float,
        epsilon: float,
        iterations: int,
    ) -> None:
        """Builds the head.

        Args:
            features: width of the encoder's vector.
            width: of the projection's hidden layer; 0: the projection is linear.
            out: width of the space the prototypes live in.
            prototypes: how many.
            queue: earlier images, for each global crop, that take part in Sinkhorn; 0: none.
            temperature: of the predictions.
            epsilon: of Sinkhorn.
            iterations: of Sinkhorn.
        """
        super().__init__()
        self.projection = Projection(features, width, out)
        self.prototypes = unit_rows(prototypes, out)
        self.usage = Usage(prototypes)
        self.register_buffer("queue", torch.zeros(2, queue, out))
        self.temperature, self.epsilon, self.iterations = temperature, epsilon, iterations
        self.filling = self.full = False  # whether the queue takes images in, and whether it has as many as it holds
        self._latest: Tensor | None = None

    def begin_step(self, *, steps_of_queue: int, batch: int) -> None:
        """Whether this step's queue fills and counts.

        Args:
            steps_of_queue: steps since it began to fill, negative before.
            batch: images of the global batch.
        """
        length = self.queue.shape[1]
        self.filling = length > 0 and steps_of_queue >= 0
        self.full = self.filling and steps_of_queue * batch >= length

    def loss(self, features: Tensor, workers: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Swapped prediction: the codes of the two global crops, predicted from all other crops.

        Args:
            features: [V, N, channels], of the crops of this worker's images, the two global ones first.
            workers: number of workers that hold a part of the batch each.
        """
        projected = self.projection(features, workers)
        with torch.autocast(features.device.type, enabled=False):  # similarities in float32
            embeddings = functional.normalize(projected.float(), dim=2)
            scores = embeddings @ self.prototypes.T  # [V, N, prototypes]
            logits = scores / self.temperature
            codes = self.codes(embeddings[:2].detach(), workers)
            self.usage.observe(logits[:2].detach().softmax(dim=2), workers)
            loss = swapped_prediction(codes, logits)
        return loss, {"spread": embeddings.detach()[:2].flatten(0, 1).std(dim=0).mean()}

    @torch.no_grad()
    def codes(self, embeddings: Tensor, workers: int) -> Tensor:
        """Sinkhorn over the global batch, and the queue once it is full, for each global crop by itself.

        Args:
            embeddings: float [2, N, out], unit vectors of this worker's images.
            workers: as in `loss`.

        Returns:
            float32 [2, N, prototypes], each row summing to 1.
        """
        count = embeddings.shape[1]
        everyone = gather(embeddings.transpose(0, 1), workers).transpose(0, 1)  # [2, global N, out]
        self._latest = everyone
        mine = slice(rank_of(workers) * count, (rank_of(workers) + 1) * count)
        samples = torch.cat([everyone, self.queue], dim=1) if self.full else everyone
        scores = samples @ self.prototypes.T
        return torch.stack([sinkhorn(crop, self.epsilon, self.iterations)[mine] for crop in scores])

    @torch.no_grad()
    def end_step(self) -> None:
        """Behind the update: prototypes back to length 1, the batch into the queue, newest first."""
        self.prototypes.copy_(functional.normalize(self.prototypes, dim=1))
        self.usage.update()
        if self.filling and self._latest is not None:
            self.queue.copy_(torch.cat([self._latest, self.queue], dim=1)[:, : self.queue.shape[1]])
        self._latest = None
