"""Batched L-BFGS for logistic-regression heads: many convex problems at once, each with its own step and its own end.

Heads are stacked [G, M]: G groups that own their samples, M heads of a group that share them (regularisers, folds).
Parameters are [G, R, M, K], logits [G, n, M, K], so that a group's heads are the columns of one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

HISTORY = 6  # pairs kept: beyond it the preconditioned problems gain no iteration
LINE_SEARCH_TRIALS = 30
PACK_BELOW = 0.75  # heads are repacked once this share of the slots suffices
ABSENT = -1e30  # logit of a class a head has no sample of: finite, so that 0 * ABSENT is 0


@dataclass
class Problem:
    """What is minimised, for every head: 0.5 * |scale * theta|^2 (bias row free) + sum_i weight_i * loss_i.

    Shapes: inputs [G, n, R] with a last column of ones, onehot [G, n, 1, K], weight [G, n, M] (C times the sample's
    weight), scale [G, R, M] (the preconditioner: W = scale * theta), offset [G, 1, M, K] (0, or ABSENT).
    """

    inputs: Tensor
    onehot: Tensor
    weight: Tensor
    scale: Tensor
    offset: Tensor

    def forward(self, theta: Tensor) -> Tensor:
        """Logits [G, n, M, K] of parameters [G, R, M, K], linear in them (the offset is not added)."""
        groups, _, heads, classes = theta.shape
        columns = (self.scale[..., None] * theta).reshape(groups, -1, heads * classes)
        return (self.inputs @ columns).view(groups, -1, heads, classes)

    def gradient(self, probabilities: Tensor, theta: Tensor) -> Tensor:
        """Gradient [G, R, M, K] in theta."""
        groups, _, heads, classes = theta.shape
        residual = (probabilities - self.onehot) * self.weight[..., None]
        data = (self.inputs.mT @ residual.view(groups, -1, heads * classes)).view(theta.shape)
        return self.scale[..., None] * (data + self.penalised(theta))

    def penalised(self, theta: Tensor) -> Tensor:
        """The weights W [G, R, M, K] with the unpenalised bias row set to zero."""
        weights = self.scale[..., None] * theta
        weights[:, -1] = 0
        return weights

    def pack(self, groups: Tensor, slots: Tensor) -> Problem:
        """The problem of the heads `slots` [G', M'] of the groups `groups` [G']."""
        return Problem(
            inputs=self.inputs[groups],
            onehot=self.onehot[groups],
            weight=_pick(self.weight, groups, slots, 2),
            scale=_pick(self.scale, groups, slots, 2),
            offset=_pick(self.offset, groups, slots, 2),
        )


@dataclass(frozen=True)
class Solution:
    """theta [G, R, M, K], objective, iterations (int64) and converged (bool) [G, M]."""

    theta: Tensor
    objective: Tensor
    iterations: Tensor
    converged: Tensor


@dataclass
class _Memory:
    """Curvature pairs of the last steps, [G, R, M, K] each, and what the two-loop recursion needs of them, [G, M]."""

    steps: list[Tensor] = field(default_factory=list)
    changes: list[Tensor] = field(default_factory=list)
    inverses: list[Tensor] = field(default_factory=list)
    gamma: Tensor | None = None

    def push(self, step: Tensor, change: Tensor) -> None:
        curvature = dot(step, change)
        usable = curvature > 1e-300  # a head that stands still contributes nothing
        self.inverses.append(torch.where(usable, 1 / curvature, 0.0))
        ratio = curvature / dot(change, change).clamp(min=1e-300)
        previous = torch.ones_like(ratio) if self.gamma is None else self.gamma
        self.gamma = torch.where(usable, ratio, previous)
        self.steps.append(step)
        self.changes.append(change)
        if len(self.steps) > HISTORY:
            for kept in (self.steps, self.changes, self.inverses):
                kept.pop(0)

    def direction(self, gradient: Tensor) -> Tensor:
        """Minus the approximate inverse Hessian times the gradient (two-loop recursion)."""
        result = gradient.clone()
        alphas = []
        for step, change, inverse in zip(self.steps[::-1], self.changes[::-1], self.inverses[::-1], strict=True):
            alphas.append(inverse * dot(step, result))
            result -= _spread(alphas[-1]) * change
        if self.gamma is not None:
            result *= _spread(self.gamma)
        for step, change, inverse, alpha in zip(self.steps, self.changes, self.inverses, reversed(alphas), strict=True):
            result += _spread(alpha - inverse * dot(change, result)) * step
        return result.neg_()

    def pack(self, groups: Tensor, slots: Tensor) -> _Memory:
        return _Memory(
            steps=[_pick(step, groups, slots, 2) for step in self.steps],
            changes=[_pick(change, groups, slots, 2) for change in self.changes],
            inverses=[_pick(inverse, groups, slots, 1) for inverse in self.inverses],
            gamma=None if self.gamma is None else _pick(self.gamma, groups, slots, 1),
        )


def minimise(problem: Problem, tolerance: float, max_iterations: int, narrow: bool) -> Solution:
    """Minimises every head from zero until its estimated distance to the optimum is below `tolerance` * objective.

    The estimate is half the Newton decrement under the L-BFGS metric. Heads that are done stand still and leave the
    batch when enough of them can: every head by itself if `narrow`, else whole groups only. A group's matrix products
    then keep their shape, and so their bits, whatever other groups do: `narrow` is for one group at a time.
    """
    groups, _, heads = problem.scale.shape
    where = (
        torch.arange(groups, device=problem.scale.device),
        torch.arange(heads).expand(groups, heads).to(problem.scale.device),
    )
    run = _Run(problem)
    result = _empty(run)
    for iteration in range(max_iterations + 1):
        direction = run.memory.direction(run.gradient)
        slope = dot(run.gradient, direction)
        run.converged |= ~run.done & (-slope / 2 <= tolerance * run.objective)
        run.done |= run.converged
        run.iterations = torch.where(run.done, run.iterations, iteration)
        if bool(run.done.all()) or iteration == max_iterations:
            break
        kept = _packing(run.done, narrow)
        if kept is not None:
            _write(result, run, *where)
            run.pack(*kept)
            where = where[0][kept[0]], where[1][kept[0]].gather(1, kept[1])
            direction, slope = _pick(direction, *kept, 2), _pick(slope, *kept, 1)
        run.advance(direction, slope)
    _write(result, run, *where)
    return result


class _Run:
    """The heads still in the batch: where each stands and how it came there."""

    def __init__(self, problem: Problem) -> None:
        groups, rows, heads = problem.scale.shape
        classes = problem.onehot.shape[-1]
        self.problem = problem
        self.theta = problem.scale.new_zeros(groups, rows, heads, classes)
        self.logits = problem.offset.expand(groups, problem.inputs.shape[1], heads, classes).clone()
        normaliser, probabilities = normalise(self.logits.clone())
        self.objective = (normaliser * problem.weight).sum(1)  # the logit of a sample's own class is still zero
        self.gradient = problem.gradient(probabilities, self.theta)
        self.memory = _Memory()
        self.done = torch.zeros(groups, heads, dtype=torch.bool, device=problem.scale.device)
        self.converged = self.done.clone()
        self.iterations = torch.zeros(groups, heads, dtype=torch.int64, device=problem.scale.device)

    def advance(self, direction: Tensor, slope: Tensor) -> None:
        """One step of every head that is not done along its direction, its length by the strong Wolfe conditions."""
        line = _Line(self, direction, slope)
        length, objective, probabilities, found = line.search()
        self.done |= ~found  # no descent left in this precision
        step = _spread(length) * direction
        self.theta += step
        self.logits = torch.addcmul(self.logits, _spread(length), line.logits)
        self.objective = objective
        gradient = self.problem.gradient(probabilities, self.theta)
        self.memory.push(step, gradient - self.gradient)
        self.gradient = gradient

    def pack(self, groups: Tensor, slots: Tensor) -> None:
        self.problem = self.problem.pack(groups, slots)
        self.memory = self.memory.pack(groups, slots)
        for name in ("theta", "logits", "gradient"):
            setattr(self, name, _pick(getattr(self, name), groups, slots, 2))
        for name in ("objective", "done", "converged", "iterations"):
            setattr(self, name, _pick(getattr(self, name), groups, slots, 1))


class _Line:
    """The objective of every head along its own direction: logits are linear there, so a trial costs no product."""

    def __init__(self, run: _Run, direction: Tensor, slope: Tensor) -> None:
        self.run = run
        self.slope = slope
        self.logits = run.problem.forward(direction)
        own = run.problem.onehot
        self.own_start = (run.logits * own).sum(-1)
        self.own_change = (self.logits * own).sum(-1)
        here, along = run.problem.penalised(run.theta), run.problem.penalised(direction)
        self.square, self.cross, self.along = dot(here, here), dot(here, along), dot(along, along)

    def at(self, length: Tensor) -> tuple[Tensor, Tensor]:
        """Objective [G, M] and class probabilities [G, n, M, K] at the steps `length` [G, M]."""
        logits = torch.addcmul(self.run.logits, _spread(length), self.logits)
        own = self.own_start + length[:, None] * self.own_change
        normaliser, probabilities = normalise(logits)
        penalty = 0.5 * (self.square + 2 * length * self.cross + length * length * self.along)
        return ((normaliser - own) * self.run.problem.weight).sum(1) + penalty, probabilities

    def derivative(self, probabilities: Tensor, length: Tensor) -> Tensor:
        """Derivative [G, M] of the objective along the direction."""
        change = (probabilities * self.logits).sum(-1) - self.own_change
        return (change * self.run.problem.weight).sum(1) + self.cross + length * self.along

    def search(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Unit step first, then a guarded secant on the derivative.

        Returns:
            Step lengths [G, M], objective and probabilities there, and which heads are served. Heads that are done
            stay where they are; one that finds no step goes back to where it was.
        """
        run = self.run
        length = torch.where(run.done, 0.0, 1.0).to(self.slope)
        low, high = torch.zeros_like(length), torch.full_like(length, torch.inf)
        slack = 1e-13 * run.objective.abs()
        for _ in range(LINE_SEARCH_TRIALS):
            objective, probabilities = self.at(length)
            derivative = self.derivative(probabilities, length)
            enough = objective <= run.objective + 1e-4 * length * self.slope + slack
            found = run.done | (enough & (derivative.abs() <= 0.9 * self.slope.abs()))
            if bool(found.all()):
                return length, objective, probabilities, found
            beyond = (derivative > 0) | ~enough
            high, low = torch.where(beyond, length, high), torch.where(beyond, low, length)
            secant = length * self.slope / (self.slope - derivative)
            width = high - low
            inside = torch.minimum(torch.maximum(secant, low + 0.1 * width), low + 0.9 * width)
            length = torch.where(found, length, torch.where(high.isinf(), 2 * length, inside))
        length = torch.where(found, length, 0.0)
        return length, *self.at(length), found


def normalise(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Log of the softmax's denominator [...] and the softmax [..., K]; the logits are overwritten."""
    largest = logits.amax(-1, keepdim=True)
    exponentials = logits.sub_(largest).exp_()
    total = exponentials.sum(-1, keepdim=True)
    return (largest + total.log())[..., 0], exponentials.div_(total)


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Inner products [G, M] of parameters [G, R, M, K]."""
    return (left * right).sum((1, 3))


def _spread(values: Tensor) -> Tensor:
    return values[:, None, :, None]


def _pick(values: Tensor, groups: Tensor, slots: Tensor, dim: int) -> Tensor:
    """Keeps groups along dimension 0 and, in each, its slots [G', M'] along `dim`."""
    values = values[groups]
    shape = [1] * values.ndim
    shape[0], shape[dim] = slots.shape
    target = list(values.shape)
    target[dim] = slots.shape[1]
    return values.gather(dim, slots.view(shape).expand(target))


def _packing(done: Tensor, narrow: bool) -> tuple[Tensor, Tensor] | None:
    """Groups and slots that hold every head not done, as a rectangle; None while it would save too little."""
    busy = ~done
    groups = busy.any(1).nonzero()[:, 0]
    width = int(busy.sum(1).max()) if narrow else done.shape[1]
    if len(groups) * width > PACK_BELOW * done.numel():
        return None
    slots = torch.argsort(done[groups].to(torch.int8), dim=1, stable=True)[:, :width]
    return groups, slots


def _empty(run: _Run) -> Solution:
    return Solution(
        theta=torch.zeros_like(run.theta),
        objective=torch.zeros_like(run.objective),
        iterations=torch.zeros_like(run.iterations),
        converged=torch.zeros_like(run.converged),
    )


def _write(result: Solution, run: _Run, groups: Tensor, slots: Tensor) -> None:
    """Puts the heads of the batch where they belong in the result."""
    rows = groups[:, None].expand_as(slots)
    result.theta.movedim(2, 1)[rows, slots] = run.theta.movedim(2, 1)
    for name in ("objective", "iterations", "converged"):
        getattr(result, name)[rows, slots] = getattr(run, name)
