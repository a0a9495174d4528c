"""The searches of a study, read back by Optuna."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from bench.errors import UserError
from bench.results.export import read_trials
from bench.results.optuna_storage import FILE, write_storage
from bench.store.trials import write_trial

SPEC = {"nuisance": {"mae.lr": {"loguniform": [1e-3, 1e-2]}, "mae.norm_pix": {"choice": [True, False]}}}
# number, lr, norm_pix, state, value, curve; the last learning rate is a rounded end of the range
TRIALS = [
    (0, 2e-3, True, "complete", 0.6, [(1, 0.4), (2, 0.6)]),
    (1, 5e-3, False, "pruned", None, [(1, 0.1)]),
    (2, 1.0001e-2, True, "diverged", None, []),
]


def write(root: Path, search: str, ratio: float) -> None:
    for number, lr, norm_pix, state, value, curve in TRIALS:
        write_trial(
            root,
            search_key=search,
            number=number,
            method="mae",
            setting={"mask_ratio": ratio},
            parameters={"lr": lr, "norm_pix": norm_pix},
            objective="linear.balanced_accuracy@2",
            state=state,
            value=value,
            curve=curve,
            seconds=3.0,
        )


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> JournalStorage:
    root = tmp_path_factory.mktemp("root")
    write(root, "a" * 32, 0.5)
    write(root, "b" * 32, 0.75)
    path = write_storage(read_trials(root, None), SPEC, root)
    assert path == root / FILE
    assert [item.name for item in root.iterdir() if item.name.startswith("optuna")] == [FILE]  # no lock is left
    return JournalStorage(JournalFileBackend(str(path)))


def test_every_setting_is_a_study(storage: JournalStorage) -> None:
    names = optuna.study.get_all_study_names(storage)
    assert names == [f"mae mask_ratio=0.5 {'a' * 12}", f"mae mask_ratio=0.75 {'b' * 12}"]
    study = optuna.load_study(study_name=names[1], storage=storage)
    assert study.user_attrs["setting"] == {"mask_ratio": 0.75}
    assert study.user_attrs["objective"] == "linear.balanced_accuracy@2"
    assert study.direction.name == "MAXIMIZE"
    assert study.best_params == {"lr": 2e-3, "norm_pix": True}


def test_trials_keep_values_states_and_rungs(storage: JournalStorage) -> None:
    study = optuna.load_study(study_name=f"mae mask_ratio=0.5 {'a' * 12}", storage=storage)
    trials = study.get_trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    assert trials[0].value == 0.6
    assert [trial.intermediate_values for trial in trials] == [{1: 0.4, 2: 0.6}, {1: 0.1}, {}]
    assert [trial.params["lr"] for trial in trials] == [2e-3, 5e-3, 1.0001e-2]
    assert trials[0].distributions == {
        "lr": FloatDistribution(1e-3, 1.0001e-2, log=True),
        "norm_pix": CategoricalDistribution((True, False)),
    }
    assert trials[2].user_attrs["state"] == "diverged"
    assert trials[0].duration.total_seconds() == pytest.approx(3.0)


def test_no_trials_are_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no trials"):
        write_storage(read_trials(tmp_path, None), SPEC, tmp_path)
