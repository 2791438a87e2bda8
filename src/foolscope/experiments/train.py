"""Train a network by name on a data set by name, and write weights, card and curves."""

from __future__ import annotations

import dataclasses
import platform
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from foolscope.attacks import PGD, Untargeted
from foolscope.data import ImageSet, load_data
from foolscope.defenses.adversarial_training import AdversarialTraining, parse_adversarial
from foolscope.errors import ParameterError, SpecError
from foolscope.files import canonical_json, check_home, check_writable, digest, home, write_json
from foolscope.measure import accuracy
from foolscope.models import MODELS, Card, Classifier, load_model
from foolscope.models.cards import card_path, save_card
from foolscope.models.engine import Engine
from foolscope.models.fingerprint import model_digest
from foolscope.models.training import Curves, Guard, Recipe, TrainingProgress, train
from foolscope.models.weight_files import save_weights
from foolscope.randomness import generator
from foolscope.registry import Registry
from foolscope.spec import format_value, parse_spec

_GRAY = Recipe(epochs=12, lr=0.05, shift=2)
RECIPES: Registry[Recipe] = Registry(
    "recipe",
    "foolscope train --help",
    {
        "lenet": _GRAY,
        "mnist-cnn": Recipe(epochs=12, lr=0.05, decay=1e-4, warmup=0.4),
        "resnet20-gray": Recipe(epochs=4, shift=2),
        "resnet20": Recipe(epochs=40, shift=4, flip=True),
        "cifar-cnn": Recipe(epochs=30, shift=4, flip=True),
    },
)
"""Settings that reach the accuracies of the shipped weights on two cores in minutes."""

DEEP_CLIP = 1.0
"""Largest gradient norm of a step of LeNet with extra layers: without it some of 20 layers do not survive an epoch."""

_SMALL_DATA, _MANY_EPOCHS = 10_000, 5
_ROBUST_IMAGES = 1000
_HELD_OUT, _LARGEST_SHARE = 1000, 10
_GUARD_STEPS = 10


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished training: the model in evaluation mode, its training images, card, curves, and its file."""

    model: Classifier
    data: ImageSet
    card: Card
    curves: Curves
    path: Path


def default_recipe(model: str, data: ImageSet) -> Recipe:
    """The usual settings for a network on these images; small data sets get more epochs."""
    spec, gray = parse_spec(model), data.pixels.shape[3] == 1
    family = spec.name
    name = f"{family}-gray" if gray and f"{family}-gray" in RECIPES else family
    recipe = RECIPES[name] if name in RECIPES else Recipe(shift=2 if gray else 4, flip=not gray)
    if dict(spec.options).get("extra", "0") != "0":
        recipe = recipe.replace(clip=DEEP_CLIP)
    return recipe.replace(epochs=recipe.epochs * _MANY_EPOCHS) if len(data) < _SMALL_DATA else recipe


def train_model(
    model: str,
    data: str,
    *,
    epochs: int | None = None,
    recipe: Recipe | None = None,
    adversarial: str | None = None,
    held_out: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    name: str | None = None,
    out: Path | None = None,
    watch: Callable[[TrainingProgress], None] | None = None,
    offline: bool = False,
) -> Trained:
    """Train `model` (a spec) from random weights on `data`'s training images and write what came out.

    Writes `out` (a .safetensors file; default `<model>-<data>.safetensors` in the current folder), its card and its
    curves (`.json`, `.curves.json`) beside it.  The state is kept under `FOOLSCOPE_HOME`, so the same call goes on
    after a kill and ends with the same bits.  `adversarial` is `trades`, `fgsm-rs` or an attack's spec: every batch is
    replaced by what it makes of it, without early stop.  The weights of the epoch that is most robust on `held_out`
    training images, which are then not trained on, are kept (default: 1,000 or a tenth of the images, of an adversarial
    training alone; 0: the last epoch's).  `name` is what `weights=` will call the result (default: the data's name).
    Raises `SpecError` and `ParameterError` for what is asked, `InputError` where the images do not fit the network,
    `StorageError` where nothing can be written, before the training.
    """
    images = load_data(data, "train", limit, seed, offline=offline)
    network = _untrained(model, images, seed, offline)
    settings = recipe or default_recipe(model, images)
    settings = settings.replace(epochs=epochs) if epochs else settings
    method = parse_adversarial(adversarial) if adversarial else None
    count = _held_out(held_out, len(images), method)
    judged, trained = _parts(images, count, seed)
    test = load_data(data, "test", offline=offline)
    target = out or Path(f"{parse_spec(model).name}-{name or data.replace(':', '-').replace('/', '-')}.safetensors")
    if target.suffix != ".safetensors":
        raise SpecError(f"'{target}' must end in .safetensors.")
    if target.is_dir():
        raise SpecError(f"'{target}' is a folder: name a file in it.")
    check_writable(target.parent, "name another --out")
    check_home()
    identity = {
        "model": model_digest(network),
        "data": trained.digest,
        "recipe": asdict(settings),
        "seed": seed,
        "adversarial": method.spec if method else None,
        **({"held_out": count} if count else {}),
    }
    rise = round(settings.warmup * settings.steps(len(trained)))
    curves = train(
        network,
        trained.pixels,
        trained.labels,
        settings,
        seed=seed,
        checkpoint=home() / "training" / f"{digest(canonical_json(identity))}.pt",
        perturb=method.perturb(seed, rise) if method else None,
        loss=method.loss if method else None,
        guard=_guard(method, judged) if method and count else None,
        validate=lambda module: _accuracy(module, test),
        watch=watch,
    )
    flags = [f"--seed {seed}"]
    flags += [f"--adversarial {shlex.quote(adversarial)}"] if adversarial else []
    flags += [f"--held-out {count}"] if count != _held_out(None, len(images), method) else []
    flags += [f"--limit {limit}"] if limit else []
    flags += [f"--name {shlex.quote(name)}"] if name and name != data else []
    weights = save_weights(network.network, target)
    card = Card(
        architecture=network.name,
        name=name or data,
        data=data,
        seed=seed,
        command=_command(model, data, settings, flags, default_recipe(model, images)),
        epochs=settings.epochs,
        recipe=asdict(settings),
        accuracy=_accuracy(network, test),
        images=len(test),
        license="not stated",
        sha256=weights,
        parameters=sum(p.numel() for p in network.parameters()),
        created_with={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "threads": str(torch.get_num_threads()),
        },
        adversarial=method.spec if method else None,
        robust_accuracy=_robust(network, method, test) if method else None,
        held_out=count,
        kept_epoch=curves.kept,
        input_shape=tuple(network.input_shape),  # type: ignore[arg-type]
        class_names=images.class_names,
    )
    save_card(card, card_path(target))
    write_json(target.with_suffix(".curves.json"), asdict(curves))
    return Trained(model=network, data=images, card=card, curves=curves, path=target)


def _command(model: str, data: str, settings: Recipe, flags: list[str], usual: Recipe) -> str:
    """The command that trains the same: of the settings it names those that are not usual."""
    changed = [key for key, value in asdict(settings).items() if key != "epochs" and value != getattr(usual, key)]
    given = ",".join(f"{key}={format_value(getattr(settings, key))}" for key in changed)
    recipe = [f"--recipe {given}"] if given else []
    begin = ["foolscope train", shlex.quote(model), "--data", shlex.quote(data), f"--epochs {settings.epochs}"]
    return " ".join([*begin, *flags, *recipe])


def _untrained(model: str, images: ImageSet, seed: int, offline: bool) -> Classifier:
    spec = parse_spec(model)
    if {"weights", "seed"} & {key for key, _ in spec.options}:
        raise SpecError(f"'{model}': a training starts from random weights; name no weights, and the seed by --seed.")
    if "weights" not in {field.name for field in dataclasses.fields(MODELS[spec.name])}:
        raise SpecError(f"'{model}' cannot be trained by name: train your own module with models.training.train.")
    joiner = "," if spec.options else "?" if spec.argument else ":"
    network = load_model(f"{model}{joiner}weights=none,seed={seed}", images.task, offline=offline)
    if not isinstance(network, Classifier):
        raise SpecError(f"'{model}' cannot be trained by name: train your own module with models.training.train.")
    return network


def _held_out(asked: int | None, images: int, method: AdversarialTraining | None) -> int:
    """How many training images decide which epoch is kept."""
    if asked is None:
        return min(_HELD_OUT, images // _LARGEST_SHARE) if method else 0
    if asked and method is None:
        raise SpecError("held-out images decide how robust an epoch is: name an attack to train against, too.")
    if not 0 <= asked < images:
        raise ParameterError(f"held_out must be between 0 and {images - 1:,}, fewer than the images, got {asked:,}.")
    return asked


def _parts(images: ImageSet, count: int, seed: int) -> tuple[ImageSet, ImageSet]:
    """`count` random images, and the others, each in the set's order."""
    order = torch.randperm(len(images), generator=generator(seed))
    judged, trained = (rows.sort().values for rows in (order[:count], order[count:]))
    return images.rows(judged), images.rows(trained)


def _guard(method: AdversarialTraining, images: ImageSet) -> Guard:
    """Rates an epoch by its accuracy under PGD on images that are not trained on."""
    judge = PGD(eps=method.eps, norm=method.norm, steps=_GUARD_STEPS)

    def score(model: nn.Module) -> float:
        return float((~_fooled(judge, model, images)).float().mean())

    return Guard(score=score, fall=method.fall)


def _fooled(judge: PGD, model: nn.Module, images: ImageSet) -> Tensor:
    """Which images an attack makes, or leaves, wrong."""
    return judge(model, images.images, Untargeted(images.labels), rng=generator(0)).success


def _accuracy(model: nn.Module, data: ImageSet) -> float:
    engine = Engine(model)
    correct = [
        engine.predict(block.images) == block.labels
        for begin in range(0, len(data), 1000)
        for block in [data.rows(slice(begin, begin + 1000))]
    ]
    return float(torch.cat(correct).float().mean())


def _robust(model: nn.Module, method: AdversarialTraining, data: ImageSet) -> str:
    """Accuracy under a stronger attack than the one that was trained against: PGD-40 in its ball, 1,000 images."""
    judge, chosen = PGD(eps=method.eps, norm=method.norm, steps=40), data.limit(_ROBUST_IMAGES, seed=0)
    standing = ~_fooled(judge, model, chosen)
    return f"{accuracy(standing)} under {judge.spec()} on {len(chosen)} test images"
