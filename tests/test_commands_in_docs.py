"""Commands in the README and the manual: each is understood by the real command line, none is started.

A line of `bench` goes through the parser of the command, and what a study is told through the reader of studies. What a
block shows that this project does not answer for carries its reason: `# not run here: REASON` in the block, or below.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import typer.main

from bench.cli import USAGE_ERROR, app
from bench.errors import UserError
from bench.study.load import find_study, load_study

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL = ("", "sh", "bash", "shell", "console")
REASON = "# not run here:"
OF_THE_SHELL = "of the shell"

# A command that the manual shows, and the test that runs it for real.
EXECUTED = {
    "run": "tests/engine/test_run.py",
    "plan": "tests/test_own_data.py",
    "leaderboard": "tests/test_cli.py",
    "export": "tests/test_cli.py",
    "verify": "tests/test_cli.py",
    "compare": "tests/test_cli.py",
    "dashboard": "tests/dashboards/test_browser.py",
    "gc": "tests/test_cli.py",
    "weights": "tests/test_weights.py",
    "predict": "tests/engine/test_winner.py",
    "methods": "tests/test_cli.py",
    "protocols": "tests/test_cli.py",
    "doctor": "tests/engine/test_doctor.py",
    "drift": "tests/engine/test_drift.py",
    "pool": "tests/results/test_pool.py",
    "data list": "tests/test_cli.py",
    "data audit": "tests/data/test_audit.py",
    "data label": "tests/engine/test_data_label.py",
}
# Programs of others: why no test runs the line, or which one does.
OTHERS = {
    "ray": "tests/cluster/test_ray_up.py runs `ray up`, jobs and `ray down` on three hosts",
    "RAY_UP_enable_autoscaler_v2=0": "the same",
    "aws": "needs an account; the calls of `ray up` are tested against a mocked AWS",
    "VPC=": "the same",
    "GROUP=": "the same",
    "gcloud": "needs an account",
    "kubectl": "needs a cluster",
    "helm": "needs a cluster",
    "docker": "needs a registry",
    "sbatch": "needs Slurm",
    "tensorboard": "tests/engine/test_loggers.py reads what it shows",
    "mlflow": "the same",
    "python3": "the install is what continuous integration does in a clean clone",
    ".venv/bin/pip": "the same",
    "pip": "the same",
    "source": OF_THE_SHELL,
    "export": OF_THE_SHELL,
    "for": OF_THE_SHELL,
    "do": OF_THE_SHELL,
    "done": OF_THE_SHELL,
    "cd": OF_THE_SHELL,
}
_FENCE = re.compile(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`((?:bench|python -m bench\.\w+) [^`\n]+)`(?!`)")
_PLACEHOLDER = re.compile(r"[A-Z][A-Z_0-9]*(\.yaml)?|results[\w-]*/studies/.+")


class Shown(NamedTuple):
    page: str
    text: str
    inline: bool


def shown() -> Iterator[Shown]:
    for page in PAGES:
        name, text = str(page.relative_to(ROOT)), page.read_text(encoding="utf-8")
        for _, language, block in _FENCE.findall(text):
            if is_shell(language, block) and REASON not in block:
                yield from (Shown(name, line, False) for line in lines(block))
        yield from (Shown(name, found, True) for found in _INLINE.findall(_FENCE.sub("", text)))


def lines(block: str) -> Iterator[str]:
    """The commands of a block, continued lines joined; without comments."""
    for line in re.sub(r"\\\n", " ", block).splitlines():
        bare = re.sub(r"(^|\s)#.*", "", line).strip()
        for part in re.split(r"\s+&&\s+|;\s+(?=bench |do |done)", bare):
            if part:
                yield part


def is_shell(language: str, block: str) -> bool:
    """A block says so, or says nothing and has a line that starts with a program that is known here."""
    programs = "|".join(re.escape(name) for name, reason in OTHERS.items() if reason != OF_THE_SHELL)
    known = re.compile(rf"^(\$ )?(\.venv/bin/)?((bench|python|make)\b|{programs})", re.MULTILINE)
    return language in SHELL and bool(language or known.search(block))


COMMANDS = list(dict.fromkeys(shown()))


def understood(words: list[str], *, partial: bool = False) -> str:
    """Parses `bench WORDS` as the entry point would; returns the command's name. Nothing is invoked.

    Raises:
        Exception: what Typer raises where it does not understand; a missing argument is none if `partial`.
        UserError: a study that is no study, or an option that it does not have.
    """
    command, name, context = typer.main.get_command(app), ["bench"], None
    while hasattr(command, "resolve_command"):  # a group, whose own options are none
        context = command.make_context(name[-1], [], parent=context, resilient_parsing=True)
        assert words, "a command is missing"
        wanted = words[0]
        if wanted in ("--help", "-h"):
            return ""
        found, command, words = command.resolve_command(context, words)
        assert command is not None, f"no such command: {wanted}"
        name.append(str(found))
    try:
        values = command.make_context(name[-1], list(words), parent=context).params
    except Exception as error:
        if partial and type(error).__name__ == "MissingParameter":
            return " ".join(name[1:])
        raise
    if name[-1] in ("run", "plan"):
        check_study(values)
    return " ".join(name[1:])


def check_study(values: dict[str, object]) -> None:
    study = values["study"]
    if isinstance(study, str) and _PLACEHOLDER.fullmatch(study):
        return
    overrides = values["overrides"] or []
    assert isinstance(overrides, list | tuple)
    if values["data"] is not None and study is None:
        return  # proposed for the images: its options are not known here
    load_study(find_study(None if study is None else str(study)), [str(override) for override in overrides])


def check(command: Shown) -> str:
    """Checks a command; returns the name of the `bench` command it is, or an empty text."""
    words = shlex.split(command.text)
    program = re.sub(r"^\.venv/bin/(?=bench|python)", "", words[0])
    if program == "bench":
        return understood(words[1:], partial=command.inline)
    if program == "python":
        return check_python(words[1:])
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert words[1] in targets, f"make {words[1]}: no such target"
        return ""
    assert any(program == other or (other[-1] == "=" and program.startswith(other)) for other in OTHERS), (
        f"{program}: say why it is not run, with `{REASON} REASON` in the block"
    )
    return ""


def check_python(words: list[str]) -> str:
    if words[:2] == ["-m", "bench.run"]:
        return understood(["run", *words[2:]])
    if words[0] == "-m":
        file = ROOT / (words[1].replace(".", "/") + ".py")
        assert file.is_file() or words[1] == "pytest", f"{words[1]}: no such module"
        named = [word for word in words[2:] if word.startswith("tests/")]
        assert all((ROOT / word).exists() for word in named), words
        return ""
    source = (ROOT / words[0]).read_text(encoding="utf-8")
    for option in (word for word in words[1:] if word.startswith("--")):
        assert f'"{option}"' in source, f"{words[0]} has no {option}"
    return ""


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.page}: {command.text}"[:110])
def test_a_command_is_understood(command: Shown) -> None:
    name = check(command)
    assert not name or name in EXECUTED, f"bench {name}: name the test that runs it in EXECUTED"


def test_the_tests_that_run_commands_are_there() -> None:
    for name, path in EXECUTED.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        assert name.split()[-1] in text, f"{path} does not run `bench {name}`"


def test_there_are_many() -> None:
    assert len([command for command in COMMANDS if "bench" in command.text]) > 40
    assert {command.page for command in COMMANDS} > {"README.md", "docs/tutorial.md", "docs/papers/mae.md"}


@pytest.mark.parametrize(
    "line",
    [
        "bench leaderbord",
        "bench leaderboard --targt 0.8",
        "bench export --format",
        "bench verify",
        "bench data audit",
        "bench data audits DIR",
        "bench run search_spaces/paper_maes.yaml",
        "bench run quickstart --set mae.mask_ration=0.5",
        "python -m bench.run quickstart --set seeds=none",
        "bench run quickstart --sets seeds=5",
        "make rum",
        "python benchmarks/rows.py --nothing",
        "python -m bench.results.nothing",
        "unheard of",
    ],
)
def test_a_mistake_is_found(line: str) -> None:
    with pytest.raises((AssertionError, UserError, USAGE_ERROR)):
        check(Shown("a page", line, False))
