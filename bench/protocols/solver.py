"""Batched truncated Newton for logistic-regression heads: many convex problems at once, along a path of regularisers.

Heads are stacked [G, F]: G groups that own their samples, F folds of a group that share them and differ in weights.
Parameters are [G, F, K, R], logits [G, F, K, n]: the heads of a group are the rows of one matrix product, and the
samples, innermost, fill the vector registers. Heads go in step; one that is done waits. So the shape of a group's
products, and with it every bit of the result, does not depend on which other groups are there.

Logits are kept relative to that of the sample's own class: loss and residual then keep their relative precision where
a head is certain, and single precision is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from bench.protocols.products import Products

ABSENT = -1e30  # logit of a class a head has no sample of: finite, so that 0 * ABSENT is 0
FORCING = 0.1  # a Newton system is solved until its preconditioned residual has fallen to this share,
SPARED = 0.005  # or until what it could still bring is this share of the tolerance
KNOWN = 3  # solutions of a path that say where the next one lies
CG_STEPS = 200
LINE_SEARCH_TRIALS = 25
MANY = 1 << 17  # numbers of a group from which its Hessian is taken in half precision
_ROUNDING = 2e-6  # relative rounding of an objective in single precision


@dataclass(frozen=True)
class Problem:
    """What is minimised, for every head: 0.5 * |W|^2 (bias column free) + C * sum_i weight_i * loss_i.

    Shapes: exact, curved and squares [G, n, R] of the inputs, whose last column is ones, own [G, F, 1, n] (the sample's
    class), mine [G, 1, K, n] (one for that class) and others (one but for it), weight [G, F, 1, n], offset
    [G, F, K, 1] (0, or ABSENT). `curved` are the inputs as the Hessian takes them, in half the precision where samples
    are many, for it only points the way, and `squares` those of its diagonal.
    """

    exact: Products
    curved: Products
    squares: Products
    own: Tensor
    mine: Tensor
    weight: Tensor
    offset: Tensor

    @classmethod
    def build(cls, inputs: Tensor, labels: Tensor, weight: Tensor, present: Tensor) -> Problem:
        """Of inputs [G, n, R], labels [G, n], weight [G, F, n] and present [G, F, K] (whether the head has a sample of
        the class)."""
        folds, classes = present.shape[1:]
        own = labels[:, None, None].expand(-1, folds, -1, -1)
        mine = torch.nn.functional.one_hot(labels, classes).mT[:, None].to(inputs)
        offset = torch.where(present, 0.0, ABSENT).to(inputs)[..., None]
        half = inputs.shape[1] * inputs.shape[2] >= MANY and _fast_in_half(inputs)
        curved = inputs.bfloat16() if half else inputs
        rows = folds * classes
        exact, rough, squares = Products(inputs, rows), Products(curved, rows), Products(curved.square(), rows)
        return cls(exact, rough, squares, own, mine, weight[:, :, None], offset)

    @cached_property
    def others(self) -> Tensor:
        return 1 - self.mine

    def forward(self, theta: Tensor) -> Tensor:
        """Logits [G, F, K, n] less the own class's, linear in the parameters (the offset is not added)."""
        logits = self.exact.across(theta)
        return logits.sub_(logits.gather(2, self.own))

    def curvature(self, theta: Tensor, probabilities: Tensor, weighted: Tensor) -> Tensor:
        """The Hessian of the weighted losses times theta, [G, F, K, R]."""
        change = self.curved.across(theta).mul_(weighted)
        return self.curved.along(change.addcmul_(probabilities, change.sum(2, keepdim=True), value=-1))

    def diagonal(self, variance: Tensor) -> Tensor:
        """The Hessian's diagonal [G, F, K, R], of the variances [G, F, K, n] of the targets."""
        return self.squares.along(variance)

    def backward(self, values: Tensor) -> Tensor:
        """The transposed product, [G, F, K, n] -> [G, F, K, R]."""
        return self.exact.along(values)


@dataclass(frozen=True)
class Point:
    """Parameters, logits [G, F, K, n], objective [G, F], residual and probabilities there [G, F, K, n]."""

    theta: Tensor
    logits: Tensor
    objective: Tensor
    residual: Tensor
    probabilities: Tensor


@dataclass(frozen=True)
class Solution:
    """theta [G, F, K, R]; iterations (int64) and converged (bool) [G, F]."""

    theta: Tensor
    iterations: Tensor
    converged: Tensor


def follow(problem: Problem, path: Tensor, tolerance: float, max_iterations: int) -> list[Solution]:
    """Minimises every head at each C of its path.

    The start at a C lies on the parabola through the solutions at the three before it, on a logarithmic scale of C.

    Args:
        problem: the heads.
        path: [G, P] regularisers, ascending.
        tolerance: how far above its minimum an objective may end, as a share of it.
        max_iterations: Newton steps at a C.
    """
    theta = problem.offset.new_zeros(*problem.offset.shape[:3], problem.exact.width)
    found: list[Solution] = []
    for step, C in enumerate(path.unbind(1)):
        known = [solution.theta for solution in found[-KNOWN:]]
        if known:
            theta = _blend(_shares(path[:, step - len(known) : step + 1].log()), known)
        # Its logits anew, not blended as well: what rounding parts them by would grow along the path.
        found.append(minimise(problem, C[:, None], theta, problem.forward(theta), tolerance, max_iterations))
    return found


def minimise(
    problem: Problem, C: Tensor, theta: Tensor, logits: Tensor, tolerance: float, max_iterations: int
) -> Solution:
    """Newton steps from `theta` until every head is done, or finds no descent left in this precision."""
    here = evaluate(problem, C, theta, logits)
    done = torch.zeros_like(here.objective, dtype=torch.bool)
    converged = done
    iterations = torch.zeros_like(done, dtype=torch.int64)
    for _ in range(max_iterations):
        gradient = _spread(C) * problem.backward(here.residual * problem.weight) + penalised(here.theta)
        direction = newton_direction(problem, C, here, gradient, done, tolerance)
        slope = dot(gradient, direction)
        last = -slope / 2 <= tolerance * here.objective
        here, moved = line_search(problem, C, here, direction, slope, done)
        iterations = iterations + ~done
        converged = converged | (~done & last)
        done = done | last | ~moved
        if bool(done.all()):
            break
    return Solution(here.theta, iterations, converged)


def evaluate(problem: Problem, C: Tensor, theta: Tensor, logits: Tensor) -> Point:
    """Objective, residual (probabilities less targets) and probabilities at parameters and their logits."""
    loss, residual, probabilities = losses(logits + problem.offset, problem.mine, problem.others)
    objective = C * (loss * problem.weight).sum((2, 3)) + dot(theta, penalised(theta)) / 2
    return Point(theta, logits, objective, residual, probabilities)


def losses(logits: Tensor, mine: Tensor, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy [G, F, 1, n], residual and probabilities [G, F, K, n]; the logits are overwritten."""
    largest = logits.amax(2, keepdim=True).clamp_(min=0)
    wrong = logits.sub_(largest).exp_().mul_(others)
    own = (-largest).exp()
    rest = wrong.sum(2, keepdim=True)
    total = own + rest
    loss = torch.where(largest > 0, largest + total.log(), rest.log1p())
    wrong = wrong.div_(total)
    return loss, torch.addcmul(wrong, mine, rest / total, value=-1), torch.addcmul(wrong, mine, own / total)


def newton_direction(
    problem: Problem, C: Tensor, here: Point, gradient: Tensor, done: Tensor, tolerance: float
) -> Tensor:
    """Minus the inverse Hessian times the gradient, [G, F, K, R]; zero for heads that are done.

    By conjugate gradients, preconditioned with the Hessian's diagonal, as far as the tolerance asks.
    """
    scale = _spread(C)
    weighted = here.probabilities * problem.weight
    variance = weighted * (1 - here.probabilities)
    diagonal = scale * problem.diagonal(variance)
    diagonal[..., :-1] += 1
    inverse = diagonal.clamp_(min=1e-12).reciprocal_()
    busy = ~done
    residual = -gradient
    preconditioned = inverse * residual
    direction = torch.zeros_like(gradient)
    search = preconditioned
    size = dot(residual, preconditioned)
    target = torch.maximum(FORCING**2 * size, 2 * SPARED * tolerance * here.objective)
    for _ in range(CG_STEPS):
        product = scale * problem.curvature(search, here.probabilities, weighted) + penalised(search)
        curvature = dot(search, product)
        busy = busy & (curvature > 0)
        length = _spread(torch.where(busy, size / curvature, 0.0))
        direction = direction + length * search
        residual = residual - length * product
        preconditioned = inverse * residual
        reached = dot(residual, preconditioned)
        busy = busy & (reached > target)
        if not bool(busy.any()):
            break
        search = torch.addcmul(preconditioned, _spread(torch.where(busy, reached / size, 0.0)), search)
        size = reached
    return direction


def line_search(
    problem: Problem, C: Tensor, here: Point, direction: Tensor, slope: Tensor, done: Tensor
) -> tuple[Point, Tensor]:
    """Halves the steps from 1 until they descend; the new point, and which heads moved.

    Logits are linear along the direction, so that a trial costs no matrix product.
    """
    change = problem.forward(direction)
    length = torch.ones_like(slope)
    bound = here.objective * (1 + _ROUNDING)
    for trial in range(LINE_SEARCH_TRIALS + 1):
        step = _spread(torch.where(done, 0.0, length))
        there = evaluate(problem, C, here.theta + step * direction, here.logits + step * change)
        enough = done | (there.objective <= bound + 1e-4 * length * slope)
        if bool(enough.all()) or trial == LINE_SEARCH_TRIALS:
            break
        shorter = 0.0 if trial == LINE_SEARCH_TRIALS - 1 else length / 2
        length = torch.where(enough, length, shorter)
    return there, ~done & (length > 0)


def penalised(theta: Tensor) -> Tensor:
    """The parameters with the unpenalised bias, the last column, set to zero."""
    result = theta.clone()
    result[..., -1] = 0
    return result


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Inner products [G, F] of parameters [G, F, K, R]."""
    return (left * right).flatten(2).sum(2)


def _fast_in_half(values: Tensor) -> bool:
    found = torch.cpu.get_capabilities()
    return values.is_cuda or bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def _shares(logs: Tensor) -> Tensor:
    """Weights [G, P - 1] of the first values of a polynomial in its value at the last place; logs [G, P], ascending.

    Where places coincide the last value before them is taken.
    """
    places, to = logs[:, :-1], logs[:, -1:]
    gaps = places[:, :, None] - places[:, None]
    apart = ~torch.eye(places.shape[1], dtype=torch.bool, device=logs.device)
    factors = torch.where(apart, (to - places)[:, None] / torch.where(gaps == 0, 1.0, gaps), 1.0)
    alone = (~apart[-1]).to(logs)
    return torch.where(((gaps == 0) & apart).any((1, 2))[:, None], alone, factors.prod(2))


def _blend(share: Tensor, values: list[Tensor]) -> Tensor:
    """Sum of values [G, F, K, R], each with its column of share [G, P]."""
    return torch.einsum("gp,pgfkr->gfkr", share, torch.stack(values))


def _spread(values: Tensor) -> Tensor:
    return values[..., None, None]
