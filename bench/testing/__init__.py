"""The contracts of bench as tests that a package of your own can run on what it adds.

    from bench.testing import MethodContract

    class TestRotation(MethodContract):
        name = "rotation"

Run it with pytest, where the package is installed (`pip install -e .`). pytest is needed to run the tests, and by
nothing else here. For assertions with values, put `pytest.register_assert_rewrite("bench.testing")` in `conftest.py`.

A *method* is an entry point of the group `bench.methods` that names a subclass of `bench.study.methods.TrainedOptions`
(or `MethodOptions`) whose `name` is that of the entry point. Its class attributes `version`, `paper` and
`implementation` say how its numbers are told apart, where it was published, and which subclass of
`bench.methods.base.Method` ("package.module:Class") does it. `MethodContract` checks what trains:

* the loss is a finite float32 scalar whose gradient reaches every parameter that asks for one, on grey, colour and
  oblong images; equal draws give equal losses, other draws another one;
* the encoder's maps have the shapes its layers state, each can be asked for alone, an unknown one is a `UserError`;
* the encoder is saved and loaded bit for bit;
* the seed alone decides the weights, and torch's global generator is left as it was;
* previews are pictures in [0, 1], the input first.

`UntrainedMethodContract` is the same for what is not trained (computed features, published weights).

A *protocol* is an entry point of the group `bench.protocols` that names a subclass of
`bench.study.protocols.ProtocolOptions` with `name`, `version`, `summary` and `implementation`, the function from
`bench.protocols.base.Evaluation` to a list of `Score`. `ProtocolContract` checks those of labelled images:

* there is a score for every cell asked for, in their order, with metrics, counts and bits that agree with each other;
* any subset of the cells has the same scores;
* permuting the labels of the test split changes nothing that was selected;
* labels read for a selection are counted; draws of every strategy can be scored; more labels help;
* the encoder's weights stay as they were.

A *data set* is an entry point of the group `bench.datasets` that names a `bench.data.place.DataPlugin`.
`DatasetContract` checks that it opens, that images and labels are as the reader says, and that opening again reads
nothing.

The modules of options and the `DataPlugin` are imported by `bench plan`; keep torch out of them and a plan stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.testing.datasets import DatasetContract
    from bench.testing.methods import MethodContract, UntrainedMethodContract
    from bench.testing.protocols import ProtocolContract

__all__ = ["DatasetContract", "MethodContract", "ProtocolContract", "UntrainedMethodContract"]


def __getattr__(name: str) -> Any:
    """Imports a contract, and with it torch, when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'bench.testing' has no attribute {name!r}")
    from bench.testing import datasets, methods, protocols

    rooms = {"DatasetContract": datasets, "ProtocolContract": protocols}
    return getattr(rooms.get(name, methods), name)
