"""`foolscope train`: a network by name on a data set by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foolscope.cli import console
from foolscope.cli.options import Data, Json, Limit, Offline, Seed

if TYPE_CHECKING:
    from foolscope.models.training import Recipe, TrainingProgress

_RECIPE_HELP = (
    "Other settings, joined by commas: lr=0.05,flip=true. There are epochs, batch, lr, momentum, decay, warmup, shift, "
    "flip, precision and clip."
)

_ADVERSARIAL_HELP = (
    "Train against this attack: pgd:eps=8/255,steps=7; or by trades:eps=8/255,beta=6 or fgsm-rs:eps=8/255. There are "
    "eps, norm, steps, step and beta of trades, eps, step and fall of fgsm-rs."
)
_HELD_OUT_HELP = (
    "Training images to leave out, on which the most robust epoch is chosen; 0: the last one. Usually 1,000 or a tenth "
    "of an adversarial training."
)


def train(
    model: Annotated[str, typer.Argument(help="Network: lenet, lenet:extra=4, cifar-cnn, resnet20, torchvision:NAME.")],
    data: Data,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the training images.", min=1)] = None,
    adversarial: Annotated[str | None, typer.Option("--adversarial", help=_ADVERSARIAL_HELP)] = None,
    held_out: Annotated[int | None, typer.Option("--held-out", help=_HELD_OUT_HELP, min=0)] = None,
    settings: Annotated[str | None, typer.Option("--recipe", help=_RECIPE_HELP)] = None,
    seed: Seed = 0,
    limit: Limit = None,
    name: Annotated[str | None, typer.Option("--name", help="What weights= calls the result.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The .safetensors file to write.")] = None,
    offline: Offline = False,
    json: Json = False,
) -> None:
    """Train a network, resumably, and write its weights, card and curves."""
    from dataclasses import asdict

    from foolscope.experiments.train import train_model

    console.log_to_stderr()
    terminal = console.stderr().is_terminal
    with console.progress() as shown:
        task = shown.add_task("training", total=None)

        def watch(progress: TrainingProgress) -> None:
            console.check_interrupt()
            label = f"epoch {progress.epoch + 1} of {progress.epochs}, loss {progress.loss:.3f}"
            shown.update(task, description=label, completed=progress.step, total=progress.steps)
            if not terminal and progress.step % (progress.steps // progress.epochs) == 0:
                console.say(f"{label}, accuracy {100 * progress.accuracy:.1f} %")

        trained = train_model(
            model,
            data,
            epochs=epochs,
            recipe=_recipe(settings, model, data, offline) if settings else None,
            adversarial=adversarial,
            held_out=held_out,
            seed=seed,
            limit=limit,
            name=name,
            out=out,
            watch=watch,
            offline=offline,
        )
    card = trained.card
    if json:
        told = {"data": console.data_record(trained.data), "card": asdict(card), "curves": asdict(trained.curves)}
        console.print_json({"weights": str(trained.path), **told})
        return
    out_console = console.stdout()
    if trained.data.is_preview:
        out_console.print(f"trained on {console.preview(trained.data)}", style="bold", markup=False)
    out_console.print(f"{100 * card.accuracy:.2f} % of {card.images:,} test images right", markup=False)
    if card.robust_accuracy:
        out_console.print(card.robust_accuracy, markup=False)
    if card.kept_epoch:
        ran = len(trained.curves.robust)
        ended = f", ended after {ran} because robustness fell" if ran < card.epochs else ""
        kept = f"weights of epoch {card.kept_epoch} of {card.epochs}{ended}: the most robust on {card.held_out:,}"
        out_console.print(f"{kept} held-out training images", markup=False)
    out_console.print(f"file:{trained.path}", markup=False)


def _recipe(settings: str, model: str, data: str, offline: bool) -> Recipe:
    """The usual recipe with some settings changed."""
    from foolscope.data import load_data
    from foolscope.experiments.train import default_recipe
    from foolscope.models.training import Recipe
    from foolscope.spec import parse_spec

    changed = Recipe.from_spec(f"recipe:{settings}")
    given = {key for key, _ in parse_spec(f"recipe:{settings}").options}
    usual = default_recipe(model, load_data(data, "train", offline=offline))
    return usual.replace(**{key: getattr(changed, key) for key in given})
