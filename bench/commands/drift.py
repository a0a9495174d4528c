"""`bench drift`: how far noisy labels move each block of a network, and which blocks to freeze."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.commands.arguments import RESULTS, Results

Option = list[str] | None


def drift(
    results: Results = RESULTS,
    study: Annotated[str | None, typer.Option("--study", metavar="NAME", help="name or key; default: newest")] = None,
    method: Annotated[str, typer.Option("--method", help="whose pretrainings")] = "noisy_labels",
    clean: Annotated[
        Option, typer.Option("--clean", metavar="KEY=VALUE", help="options of clean runs; default: rate=0")
    ] = None,
    noisy: Annotated[
        Option, typer.Option("--noisy", metavar="KEY=VALUE", help="options of noisy runs; default: every other setting")
    ] = None,
    permuted: Annotated[
        Option,
        typer.Option("--permuted", metavar="KEY=VALUE", help="of permuted runs; default: noise=permuted and rate=1"),
    ] = None,
    images: Annotated[int, typer.Option("--images", min=16, help="test images to look at, at most")] = 256,
    threshold: Annotated[
        float, typer.Option("--threshold", help="blocks whose drift is known to lie below are frozen")
    ] = 0.5,
) -> None:
    """Print how far label noise moves each block of a network, and which blocks to freeze. It takes four seeds."""
    from rich.console import Console
    from rich.markup import escape

    from bench.engine.drift import Compared, measure_drift
    from bench.engine.site import Site
    from bench.results.drift import CLEAN, PERMUTED, drift_runs, selector
    from bench.results.drift_tried import tried, tried_lines
    from bench.results.drift_words import LEGEND, advice, comparison, drift_table, setting_text
    from bench.results.opening import open_results
    from bench.store.drift import write_drift
    from bench.study.spec import DataSpec, Resources

    ends = {
        "clean": selector(clean or (), "--clean", CLEAN) or CLEAN,
        "permuted": selector(permuted or (), "--permuted", PERMUTED) or PERMUTED,
    }
    runs = drift_runs(results, study, method, **ends, noisy=selector(noisy or (), "--noisy"))
    spec = runs.study.spec
    site = Site(results.resolve(), DataSpec.model_validate(spec["data"]), Resources.model_validate(spec["resources"]))
    site.settle()
    compared = [
        Compared(
            setting.keys,
            {
                "setting": setting.name,
                "information_loss": setting.information_loss,
                "realised_noise_rate": setting.realised_noise_rate,
            },
        )
        for setting in runs.noisy
    ]
    frame = measure_drift(site, runs.clean, runs.permuted, compared, method=method, images=images, threshold=threshold)
    path = write_drift(results, runs.study.key, frame)
    console, opened = Console(), open_results(results, runs.study.key)
    for _, lines in frame.group_by("setting", maintain_order=True):
        console.print(f"\n[bold]{escape(setting_text(lines.row(0, named=True)))}[/]", highlight=False)
        console.print(drift_table(lines))
        scored = tried_lines(tried(opened, method, lines["setting"][0]))
        for line in (comparison(lines), advice(lines), *scored):
            if line:
                console.print(line, highlight=False, markup=False)
    console.print(f"\n{LEGEND}", highlight=False, style="dim")
    console.print(f"{path}", highlight=False, style="dim", soft_wrap=True)
