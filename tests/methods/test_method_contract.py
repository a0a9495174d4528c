"""What every registered method keeps to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.base import Method
from bench.methods.registry import METHODS, build_method
from bench.study.methods import METHODS as OPTIONS
from bench.testing import MethodContract, UntrainedMethodContract
from bench.testing.methods import AnyMethod

GREY = ImageShape(1, 8, 8)
Make = Callable[..., Method]


class Small:
    """Methods as the other tests of this room make them."""

    name: str

    @pytest.fixture(autouse=True)
    def _make(self, make: Make) -> None:
        self.build = make

    def make(self, shape: ImageShape | None = None, seed: int = 0) -> Method:
        return self.build(self.name, shape or GREY, seed)

    def check_vectors(self, vectors: Tensor, features: Tensor) -> None:
        if self.name != "pixels":  # its vector is the image
            AnyMethod.check_vectors(self, vectors, features)


def contract(name: str) -> type[AnyMethod]:
    kind = MethodContract if OPTIONS[name].trains else UntrainedMethodContract
    return type(f"Test_{name}", (Small, kind), {"name": name})


globals().update({f"Test_{name}": contract(name) for name in OPTIONS})


def test_registries_agree() -> None:
    assert list(METHODS) == list(OPTIONS)


def test_an_unknown_method_is_an_error_that_lists_the_methods() -> None:
    with pytest.raises(UserError, match="did you mean 'mae'"):
        build_method("may", OPTIONS["mae"](), GREY, [0.5], [0.5], 0)


def test_methods_import_no_ray() -> None:
    code = "import sys, bench.methods.registry, bench.training.loop; sys.exit('ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
