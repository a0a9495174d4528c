"""Out of memory: what counts as it, and in how many parts a batch is taken from then on."""

from __future__ import annotations

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from bench.errors import UserError
from bench.methods.base import Method

_HOST = "DefaultCPUAllocator"  # torch has no type of its own for memory that the host does not give


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that a device, or the host, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or _HOST in str(error)


def more_parts(method: Method, name: str, batch: int, parts: int, world: int) -> int:
    """Twice as many parts of a batch as did not fit.

    Args:
        method: what is trained.
        name: of the method, for errors.
        batch: images of the global batch.
        parts: in which a worker took its share of it.
        world: number of workers.

    Raises:
        UserError: the loss of parts is not that of the batch, or they cannot be smaller.
    """
    said = f"{name}.batch_size: {batch} images do not fit in memory"
    advice = "give a smaller batch_size, or more memory"
    if world > 1:  # the others wait for this one's gradients
        raise UserError(f"{said} among {world} workers; {advice}, or more workers")
    whole = "so it cannot be taken in parts"
    if not method.batch_independent:
        raise UserError(f"{said}, and the loss depends on the whole batch, {whole}; {advice}")
    if any(isinstance(module, _BatchNorm) for module in method.modules()):
        raise UserError(f"{said}, and the encoder has batch norms, which see the whole batch, {whole}; {advice}")
    if (batch // parts) % 2:
        raise UserError(f"{said}, not even in parts of {batch // parts}; {advice}")
    return 2 * parts
