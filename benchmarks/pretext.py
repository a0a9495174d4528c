"""Training steps of SwAV and DINO with multi-crop against lightly's modules for the same losses.

    python benchmarks/pretext.py            # ResNet-18 and ViT-Ti at 64 px, batches of 32
    python benchmarks/pretext.py --precision bf16
    python benchmarks/pretext.py --quick    # ViT-Ti, batches of 4

Both sides take the same crops (augmentation is excluded), have networks and heads of the same sizes from timm, and take
a step of the same fused AdamW. Theirs is written as lightly's examples are: each crop goes through the network alone,
`SwaVLoss` and `DINOLoss` compare what comes out, `update_momentum` moves the teacher. Ours sends all crops of one size
through at once, keeps the running means that the run reports, and normalises the images. In bf16 each side is in the
mixed precision of its own training loop: ours `bench.training.precision`, theirs autocast. DINO needs a class token,
so that ResNet-18 has SwAV alone. The sides take turns.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from lightly.loss import DINOLoss, SwaVLoss
from lightly.models.modules.heads import DINOProjectionHead, SwaVProjectionHead, SwaVPrototypes
from lightly.models.utils import deactivate_requires_grad, update_momentum
from pairs import compare, spent, take_turns, write
from torch import Tensor, nn
from torch.nn import functional

from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.base import Method
from bench.methods.registry import build_method
from bench.study.methods import DinoOptions, SwavOptions
from bench.training.optim import adamw, parameter_groups
from bench.training.precision import mixed_precision

SIDE, SMALL, PATCH = 64, 32, 8
WIDTH, OUT, PROTOTYPES = 512, 128, 1024  # of either method's head
LOCALS = {"swav": 6, "dino": 8}
ENCODERS = {"resnet18": None, "vit_tiny_patch16_224": PATCH}
CASES = (("swav", "resnet18"), ("swav", "vit_tiny_patch16_224"), ("dino", "vit_tiny_patch16_224"))
STEP, STEPS = 10, 1000  # the place in the schedules
MOMENTUM = 0.996

Step = Callable[[], None]


def crops_of(method: str, batch: int) -> list[Tensor]:
    """Two large crops and some small ones, crop by crop: [2 N, 3, 64, 64] and [locals N, 3, 32, 32]."""
    numbers = torch.Generator().manual_seed(0)
    sizes = ((2, SIDE), (LOCALS[method], SMALL))
    return [torch.rand(count * batch, 3, side, side, generator=numbers) for count, side in sizes]


def our_method(name: str, encoder: str) -> Method:
    shared: dict[str, Any] = {"encoder": f"timm/{encoder}", "local_crops": LOCALS[name], "prototypes": PROTOTYPES}
    shared |= {"local_size": SMALL, "patch_size": ENCODERS[encoder], "batch_size": 2}
    options = (
        SwavOptions(**shared, projection_width=WIDTH, projection_out=OUT, queue=0, freeze_steps=0)
        if name == "swav"
        else DinoOptions(
            **shared, head_width=WIDTH, bottleneck=OUT, batch_norm=False, centring="centre", clip=None,
            freeze_epochs=0, momentum=MOMENTUM,
        )
    )  # fmt: skip
    return build_method(name, options, ImageShape(3, SIDE, SIDE), [0.5] * 3, [0.25] * 3, 0).train()


def our_step(name: str, encoder: str, crops: list[Tensor], batch: int) -> Step:
    method = our_method(name, encoder)
    method.crops = lambda images, draws: crops
    images = crops[0][:batch]
    optimizer = adamw(parameter_groups(method, 0.05), 1e-4, (0.9, 0.95))

    def step() -> None:
        method.begin_step(STEP, STEPS, 1)
        loss, _ = method.loss(images, Draws(0, batch))
        optimizer.zero_grad()
        loss.backward()
        method.adjust_gradients()
        optimizer.step()
        method.end_step()

    return step


def network_of(encoder: str) -> tuple[nn.Module, int]:
    patch = ENCODERS[encoder]
    sizes = {} if patch is None else {"patch_size": patch, "img_size": SIDE, "dynamic_img_size": True}
    network = timm.create_model(encoder, num_classes=0, **sizes)
    return network, network.num_features


def their_swav(encoder: str, crops: list[Tensor], batch: int) -> Step:
    backbone, width = network_of(encoder)
    head, prototypes = SwaVProjectionHead(width, WIDTH, OUT), SwaVPrototypes(OUT, PROTOTYPES)
    network = nn.ModuleList([backbone, head, prototypes]).train()
    criterion, optimizer = SwaVLoss(), adamw(parameter_groups(network, 0.05), 1e-4, (0.9, 0.95))
    views = [view for crop in crops for view in crop.split(batch)]

    def scores(view: Tensor) -> Tensor:
        return prototypes(functional.normalize(head(backbone(view).flatten(start_dim=1)), dim=1, p=2))

    def step() -> None:
        prototypes.normalize()
        found = [scores(view) for view in views]
        loss = criterion(found[:2], found[2:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def their_dino(encoder: str, crops: list[Tensor], batch: int) -> Step:
    backbone, width = network_of(encoder)
    head, slow_head = (DINOProjectionHead(width, WIDTH, OUT, PROTOTYPES) for _ in range(2))
    student = nn.Sequential(backbone, head).train()
    teacher = nn.Sequential(copy.deepcopy(backbone), slow_head).train()
    deactivate_requires_grad(teacher)
    criterion = DINOLoss(output_dim=PROTOTYPES)
    optimizer = adamw(parameter_groups(student, 0.05), 1e-4, (0.9, 0.95))
    views = [view for crop in crops for view in crop.split(batch)]

    def step() -> None:
        update_momentum(student, teacher, MOMENTUM)
        with torch.no_grad():
            taught = [teacher(view) for view in views[:2]]
        loss = criterion(taught, [student(view) for view in views], epoch=1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


THEIRS = {"swav": their_swav, "dino": their_dino}


def measure(name: str, encoder: str, batch: int, precision: str, steps: int, rounds: int) -> dict[str, Any]:
    crops, cpu = crops_of(name, batch), torch.device("cpu")
    ours = mixed_precision(cpu, precision)(our_step(name, encoder, crops, batch))
    theirs = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")(THEIRS[name](encoder, crops, batch))
    ours(), theirs()  # warm both sides up

    def several(step: Step) -> Callable[[], Any]:
        return lambda: spent(lambda: [step() for _ in range(steps)])

    pairs = take_turns(several(ours), several(theirs), rounds)
    found = compare(f"{name}, {encoder}, {precision}", pairs, per=steps, unit="s a step")
    return {**found, "batch": batch, "precision": precision, "ratio": found["processor"][0], "aim": 1.5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="ViT-Ti alone, batches of 4, 4 rounds")
    parser.add_argument("--rounds", type=int, default=12, help="rounds that are timed")
    parser.add_argument("--steps", type=int, default=1, help="steps of either side in a round")
    parser.add_argument("--batch", type=int, default=32, help="images of a step")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--cores", type=int, default=1, help="threads of both sides")
    parser.add_argument("--output", type=Path, default=None, help="where the JSON goes")
    options = parser.parse_args()
    torch.set_num_threads(options.cores)
    batch, rounds = (4, min(4, options.rounds)) if options.quick else (options.batch, options.rounds)
    cases = CASES[1:] if options.quick else CASES
    found = [measure(name, encoder, batch, options.precision, options.steps, rounds) for name, encoder in cases]
    write(options.output, {"threads": options.cores, "cases": found})


if __name__ == "__main__":
    main()
