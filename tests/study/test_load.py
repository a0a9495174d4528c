from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from bench.study.expand import expand
from bench.study.load import find_study, load_study, parse_yaml


@pytest.fixture
def file(tmp_path: Path, raw: dict[str, Any]) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


MISTAKES = {
    "mea.lr=1": "--set mea.lr: unknown key 'mea' (did you mean 'mae'?); valid: ",
    "mae.mask_rato=1": "unknown option 'mask_rato' (did you mean 'mask_ratio'?); valid: ",
    "mae.mask_ratio=1.5": "mae.mask_ratio: input should be less than 1, but got 1.5",
    "mae.mask_ratio=0": "mae.mask_ratio: input should be greater than 0, but got 0",
    "scientific.mae.mask_ratio=[0.5,2]": "mae.mask_ratio: input should be less than 1, but got 2",
    "scientific.mae.mask_ratio=[]": "mae.mask_ratio: a scientific axis is a non-empty list of values, but got []",
    "scientific.mae.mask_ratio=[0.5,0.5]": "a value stands twice",
    "scientific.simclr.lr=[1]": "scientific.simclr.lr: unknown method 'simclr'; valid: mae, pixels, random_init",
    "nuisance.mae.lr={log: [1,2]}": "nuisance: mae.lr: one of {choice: [...]}",
    "nuisance.mae.lr={uniform: [2,1]}": "mae.lr.uniform: low < high is needed, but got [2, 1]",
    "nuisance.mae.lr={loguniform: [0,1]}": "mae.lr.loguniform: 0 < low < high is needed, but got [0, 1]",
    "nuisance={mae.warmup: {uniform: [0.1,1.5]}}": "nuisance.mae.warmup: mae.warmup: input should be less than 1",
    "nuisance.mae.mask_ratio={uniform: [0.1,0.5]}": "mae.mask_ratio: is both a scientific and a nuisance axis",
    "nuisance.mae.epochs={int: [1,2]}": "'grid' tunes one nuisance axis, but mae has ",
    "data.rot=x": "unknown key 'rot' (did you mean 'root'?); valid: ",
    "data.image_size=-3": "data.image_size: input should be greater than or equal to 4, but got -3",
    "seeds=none": "seeds: input should be a valid integer",
    "evaluate.linear.label_budgets=[0]": "0 is no label budget; valid: a number of labels per class (1, 2, ...) or",
    "evaluate.linear.layers=[blok1]": "evaluate.0.layers: unknown layer 'blok1'; valid: last, ",
    "evaluate.lin.draws=3": "unknown entry 'lin' (did you mean 'linear'?); valid: ",
    "evaluate.linear.methods=[simclr]": "evaluate.0.methods: unknown method 'simclr'; valid: ",
    "evaluate=[{protocol: lienar}]": "evaluate.0.protocol: unknown protocol 'lienar' (did you mean 'linear'?); valid: ",
    "evaluate=[]": "evaluate: a non-empty list of {protocol: ..., ...} is needed, but got []",
    "search.objective=best": "search.objective: objective 'best' is not understood; valid: ",
    "search.sampler=cma": "search.sampler: input should be 'grid', 'tpe' or 'random', but got 'cma'",
    "mae.encoder=vit_nanno": "mae.encoder: unknown encoder 'vit_nanno' (did you mean 'vit_nano'?); valid: ",
    "mae.encoder=unet_nano": "mae.encoder: 'unet_nano' is a unet network; mae takes vit",
    "mae.lr=.nan": "mae.lr: input should be a finite number, but got nan",
    "methods.byol.lr=3": "unknown method 'byol'; valid: ",
    "methods={}": "methods: name at least one method",
    "methods={byol: {}}": "unknown method 'byol'; valid: ",
    "reference=[pixel+linear]": "reference 'pixel+linear': unknown method 'pixel' (did you mean 'pixels'?)",
    "reference=[pixels]": "reference: 'pixels' is not METHOD+PROTOCOL, such as pixels+linear",
    "resources.workers=-1": "resources.workers: input should be greater than or equal to 0, but got -1",
    "resources.wrkers=1": "unknown key 'wrkers' (did you mean 'workers'?); valid: ",
    "study=": "study: input should be a valid string",
    "study=a/b": "study: string should match pattern",
    "colour=red": "unknown key 'colour'; valid: ",
    "seeds.x=1": "--set seeds.x: seeds is a single value; set seeds=VALUE",
    "no equals sign": "--set 'no equals sign': KEY=VALUE is needed",
    "mae.lr=[1": "--set mae.lr, line 1: not valid YAML",
}


@pytest.mark.parametrize(("override", "message"), MISTAKES.items())
def test_every_mistake_is_named(file: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        load_study(file, [override])
    assert len(str(caught.value).splitlines()) <= 2


def test_overrides_reach_every_leaf(file: Path) -> None:
    study = load_study(
        file,
        [
            "data.image_size=16",
            "mae.mask_ratio=0.6",
            "random_init.encoder=conv_nano",
            "evaluate.linear.draws=7",
            "evaluate.1.draws=3",
            "nuisance.mae.lr={choice: [1e-3, 1e-2]}",
            "resources.workers=2",
        ],
    )
    assert study.data.image_size == 16
    assert study.methods["mae"]["mask_ratio"] == 0.6
    assert "mae.mask_ratio" not in study.scientific  # a fixed value ends the axis
    assert study.methods["random_init"]["encoder"] == "conv_nano"
    assert [entry.draws for entry in study.evaluate] == [7, 3]
    assert study.nuisance["mae.lr"].values == (1e-3, 1e-2)
    assert study.resources.workers == 2


def test_yaml_reads_what_people_write() -> None:
    read = parse_yaml("{a: 1e-4, b: -2E+3, c: 1.5e-3, d: e5, e: 0.1, f: 10}", "test")
    assert read == {"a": 1e-4, "b": -2e3, "c": 1.5e-3, "d": "e5", "e": 0.1, "f": 10}


STUDIES = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))
BAD_YAML = ["a: 1\na: 2", "{a: 1, a: 2}", "? [1, 2]\n: 3", "!!python/object:os.system {}", "a: [", "\t"]


@pytest.mark.parametrize("text", BAD_YAML)
def test_bad_yaml_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match="not valid YAML") as caught:
        parse_yaml(text, "test")
    assert "\n" not in str(caught.value)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(override=st.text(max_size=40) | st.from_regex(r"[a-z_.0-9]{1,30}=[\[\]{}a-z0-9.,: -]{0,20}", fullmatch=True))
def test_no_override_ends_in_a_traceback(file: Path, override: str) -> None:
    with contextlib.suppress(UserError):
        load_study(file, [override])


def test_a_study_is_found_by_name(studies: Path) -> None:
    assert find_study(None) == find_study("quickstart") == studies / "quickstart.yaml"
    assert find_study("search_spaces/quickstart.yaml").name == "quickstart.yaml"


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_that_comes_with_bench_can_be_asked(path: Path) -> None:
    study = load_study(path)
    assert expand(study)
    assert study.study == path.stem.replace("_", "-")


def test_a_missing_study_lists_those_that_exist() -> None:
    with pytest.raises(UserError, match=r"'nowhere.yaml': no such file; studies that come with bench: .*quickstart"):
        load_study(find_study("nowhere.yaml"))


def test_a_study_that_is_no_mapping(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("- a")
    with pytest.raises(UserError, match="a study is a mapping"):
        load_study(path)
