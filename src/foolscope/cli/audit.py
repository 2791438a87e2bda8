"""`foolscope audit`: the main job."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foolscope.cli import console
from foolscope.cli.options import Data, Device, Folder, Json, Limit, Offline, Precision, Seed, Split

if TYPE_CHECKING:
    from rich.table import Table

    from foolscope.experiments import AuditProgress, Results


def audit(
    model: Annotated[str, typer.Argument(help="Model: 'foolscope models' lists them.")],
    data: Data,
    attacks: Annotated[
        str, typer.Option("--attacks", help="Attacks, joined by commas: fgsm,pgd:steps=20.")
    ] = "fgsm,pgd",
    eps: Annotated[
        list[str] | None,
        typer.Option("--eps", help="Radii: 0:0.3:0.05 or 1/255,2/255; l2=0:2:0.5 for one norm. May be repeated."),
    ] = None,
    defense: Annotated[
        list[str] | None,
        typer.Option("--defense", help="Defense before the network: jpeg:quality=50. May be repeated."),
    ] = None,
    split: Split = "test",
    limit: Limit = None,
    out: Folder = None,
    seed: Seed = 0,
    precision: Precision = "float32",
    device: Device = None,
    eot: Annotated[
        int, typer.Option("--eot", help="Draws that a gradient behind a random defense is the mean of.", min=1)
    ] = 16,
    black_box: Annotated[
        int,
        typer.Option(
            "--black-box",
            help="Queries of the Square that each defense meets where no black-box attack is named.",
            min=0,
        ),
    ] = 500,
    examine: Annotated[
        bool, typer.Option("--examine", help="Examine whether the numbers can be believed: gradient masking.")
    ] = False,
    explain: Annotated[
        str | None,
        typer.Option("--explain", help="Explain the strongest attack by maps: saliency,grad-cam."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is done and what is to do, and do nothing.")
    ] = False,
    offline: Offline = False,
    json: Json = False,
) -> None:
    """Attack a classifier, with and without defenses, and write a report.

    Each defense is attacked obliviously and adaptively, along all its gradients and along none. Prints accuracy against
    epsilon and writes report.html, results.json and results.parquet. The same command resumes after a kill.
    """
    from foolscope.experiments.grid import parse_eps_by_norm, split_attacks

    asked: dict[str, Any] = {
        "attacks": split_attacks(attacks),
        "eps": parse_eps_by_norm(eps) if eps else None,
        "defenses": defense or (),
        "split": split,
        "limit": limit,
        "seed": seed,
        "precision": precision,
        "device": device,
        "eot": eot,
        "black_box": black_box,
        "examine": examine,
        "explain": [name.strip() for name in explain.split(",")] if explain is not None else (),
        "offline": offline,
    }
    if dry_run:
        _print_plan(model, data, json=json, **asked)
    else:
        run_audit(model, data, out, json=json, **asked)


_REPORTS = Path("foolscope-reports")


def default_folder(model: str, data: str, *, preview: bool = False) -> Path:
    """Where the report goes without `--out`: `foolscope-reports/<model>-<data>`; of long names the end counts.

    A preview has a folder of its own, so that it never takes the place of a whole report.
    """
    parts = [re.sub(r"[^A-Za-z0-9.]+", "-", text)[-60:].strip("-.") for text in (model, data)]
    return _REPORTS / "-".join([*parts, *(["preview"] if preview else [])])


def run_audit(model: str, data: str, out: Path | None, *, json: bool, **asked: Any) -> Results:
    """Audit with a progress display, write the report into `out` or its usual folder, print the tables."""
    from foolscope.cli.options import check_device, check_folder, check_precision
    from foolscope.experiments import audit as audit_library
    from foolscope.files import check_home
    from foolscope.report import to_json, write

    console.log_to_stderr()
    check_precision(asked.get("precision", "float32"))
    check_device(asked.get("device"))
    check_folder(out or _REPORTS)
    check_home()
    with console.progress() as shown:
        task = shown.add_task("preparing", total=None)

        def watch(progress: AuditProgress) -> None:
            console.check_interrupt()
            label = f"{progress.label} ({progress.done} of {progress.cells})"
            shown.update(task, description=label, completed=progress.passes, total=progress.total_passes)

        results = audit_library(model, data, watch=watch, **asked)
        shown.update(task, description="writing the report")
        folder = out or default_folder(model, data, preview=results.about["data"]["preview"])
        page = write(results, folder)
    if json:
        console.print_json(to_json(results))
    else:
        print_tables(results)
    console.say(f"Report: {page.resolve()}")
    return results


def _print_plan(model: str, data: str, *, json: bool, **asked: Any) -> None:
    """What the audit would do: its attacks, what they cost, and how much of it the store holds."""
    from dataclasses import asdict

    from foolscope.cli.options import check_device, check_precision
    from foolscope.experiments import plan_audit

    console.log_to_stderr()
    check_precision(asked["precision"])
    check_device(asked["device"])
    plan = plan_audit(model, data, **asked)
    steps, images = plan.steps(), len(plan.audit.data)
    if json:
        examined = [{"defense": job.victim, "norm": job.norm, "eps": job.eps} for job in plan.audit.examinations]
        explained = list(plan.audit.explanations)
        record = {"images": images, "steps": [asdict(step) for step in steps]}
        console.print_json({**record, "examinations": examined, "explanations": explained})
        return
    made = console.table("attack", "defense", "mode", ">radii", ">passes an image", ">cells", ">done")
    for step in steps:
        shown = ", ".join(victim or "none" for victim in step.victims)
        numbers = (len(step.eps) or 1, step.passes, step.cells, step.done)
        made.add_row(step.attack, shown, _told(step.mode), *(f"{number:,}" for number in numbers))
    out = console.stdout()
    out.print(made)
    left = images * sum(step.passes * (step.cells - step.done) / step.cells for step in steps)
    told = f"at most {left:,.0f} passes over an image are left, for {images:,} images; most leave their attack early"
    out.print(f"{told}.", markup=False, soft_wrap=True)
    if plan.audit.examinations:
        networks = ", ".join(job.victim or "the plain network" for job in plan.audit.examinations)
        out.print(f"Besides, it examines: {networks}.", markup=False, soft_wrap=True)
    if plan.audit.explanations:
        methods = ", ".join(plan.audit.explanations)
        out.print(f"Besides, it explains the strongest attack by: {methods}.", markup=False, soft_wrap=True)


def print_tables(results: Results) -> None:
    """Accuracy against epsilon, one table a norm, and the warnings."""
    from foolscope.report.words import gradient_notes, weakest_told
    from foolscope.spec import format_value

    out = console.stdout()
    about = results.about
    images = f"{about['data']['images']:,} of {about['data']['of']:,} images"
    title = f"{about['model']['name']} on {about['data']['spec']} ({images})"
    out.print(f"{title}{': a preview' if about['data']['preview'] else ''}", style="bold", markup=False)
    curves, worst = (*results.curves, *results.weakest), False
    for norm in dict.fromkeys(curve.norm for curve in curves):
        here = [curve for curve in curves if curve.norm == norm]
        radii = sorted({point.eps for curve in here for point in curve.points})
        made = console.table("attack", "defense", "mode", *(f">{format_value(eps)}" for eps in radii))
        made.title = f"accuracy in % at {norm} distance"
        for curve in here:
            if curve.attack == "all" and sum(other.defense == curve.defense for other in here) == 2:
                continue  # of one attack
            by_eps = {point.eps: point.accuracy for point in curve.points}
            cells = [f"{100 * by_eps[eps].value:.1f}" if eps in by_eps else "" for eps in radii]
            name = _WORST if curve.attack == "all" else curve.attack
            worst |= curve.attack == "all"
            made.add_row(name, curve.defense or "none", _told(curve.mode), *cells)
        out.print(made)
    if results.unrestricted:
        out.print(_unrestricted_table(results))
    shares = [point.accuracy for curve in curves for point in curve.points]
    shares += [found.outcome.accuracy for found in results.unrestricted]
    widest = max((share.high - share.low for share in shares), default=0.0)
    if worst:
        out.print(f"{_WORST}: {weakest_told(results)}, oblivious or adaptive, at up to this radius.", style="dim")
    for sentence in (*_strongest(results), *gradient_notes(results)):
        out.print(sentence, markup=False, soft_wrap=True)
    out.print(f"95 % intervals are at most {100 * widest:.1f} points wide; the report has each.", style="dim")
    if results.examinations:
        verdicts = [f"{found.defense or 'no defense'}: {found.examination.verdict}" for found in results.examinations]
        out.print(f"Can these numbers be believed? {'; '.join(verdicts)}.", markup=False, soft_wrap=True)
    for warning in results.warnings:
        out.print(f"Warning: {warning.message}", markup=False)


_WORST = "worst of all"


def _told(mode: str) -> str:
    """How an attack meets a defense; nothing of what meets none."""
    return "" if mode in ("none", "worst case") else mode


def _strongest(results: Results) -> list[str]:
    """A sentence for each defense and norm: its number at the reference radius, and the attack that does most alone."""
    from foolscope.report.words import Radii, radii_by_norm

    references = {radii.norm: radii for radii in radii_by_norm(results)}
    told = []
    for curve in results.weakest if len(results.victims) > 1 else ():
        radii: Radii = references[curve.norm]
        for point in curve.points:
            if curve.defense and point.eps == radii.reference and point.strongest:
                by, share = point.strongest, f"{100 * point.accuracy.value:.1f} %"
                told.append(
                    f"{curve.defense} keeps {share} at {radii.text(point.eps)} in {curve.norm}; "
                    f"most is done by {by.attack} ({by.mode}): {100 * by.accuracy.value:.1f} % under it alone."
                )
    return told


def _unrestricted_table(results: Results) -> Table:
    """What attacks without a radius leave, and how far they move the images."""
    distances = ("linf", "l2", "ssim")
    title = "accuracy in % under attacks without a radius, and their mean distances"
    columns = ("attack", "defense", "mode", ">accuracy", *(f">{name}" for name in distances))
    made = console.table(*columns, title=title)
    for found in results.unrestricted:
        means = [found.outcome.distances[name] for name in distances]
        cells = [
            f"{100 * found.outcome.accuracy.value:.1f}",
            *("" if mean is None else f"{mean:.3g}" for mean in means),
        ]
        made.add_row(found.attack, found.defense or "none", _told(found.mode), *cells)
    return made
