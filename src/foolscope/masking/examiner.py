"""Can this robustness number be believed?

A network can stand against an attack because it is robust, or because its gradients lead the attack astray: they are
zero, rounded away, random, or of a function that the network does not compute (gradient masking, obfuscated
gradients).  The checks are those of Carlini et al. 2019 (arXiv 1902.06705, section 4.3), the flags of AutoAttack (Croce
and Hein 2020, arXiv 2003.01690) and the indicators of attack failure (Pintor et al. 2022, arXiv 2106.09947):

    the number        PGD on the cross-entropy, in float32, at one radius
    the evidence      what other attacks fool of the images that it leaves, each of which should be nothing

The cooled logits are z / T, with T such that 95 % of the images have a lead of at most 10 between their two highest
logits: from 17 on float32 rounds the softmax to 1, and the cross-entropy's gradient loses the true class.

Deviations: attacks that look for what PGD missed only get the images that it left, so that a network that is not robust
costs little; every share is one of the images that the network classifies right.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foolscope.attacks import FGM, PGD, Attack, Square, Watch
from foolscope.attacks.losses import cross_entropy
from foolscope.data import ImageSet
from foolscope.defenses.defended import Defended
from foolscope.errors import FoolscopeError, GradientWarning, InputError, ParameterError
from foolscope.masking.evidence import FEWEST_IMAGES, Evidence, Examination, paired_difference
from foolscope.masking.probe import Probe
from foolscope.measure import Proportion, accuracy
from foolscope.models import describe, load_model
from foolscope.models.engine import Engine
from foolscope.norms import NORMS
from foolscope.randomness import check_seed, seeded

_COOL = 10.0
_MORE_STEPS = 4
_COSTLY = 100
_SMALLEST_NORMAL = torch.finfo(torch.float32).tiny
_HALF = 0.5
_SHIPPED = ("resnet20", "lenet", "cifar-cnn")


def examine(
    model: nn.Module | Engine,
    data: ImageSet,
    eps: float,
    norm: str = "linf",
    *,
    limit: int = 256,
    steps: int = 20,
    queries: int = 500,
    draws: int = 16,
    surrogate: nn.Module | None = None,
    seed: int = 0,
    watch: Watch | None = None,
) -> Examination:
    """Whether the robust accuracy of `model` at radius `eps` in `norm` (l1, l2 or linf) can be believed.

    `limit` random images of `data` are used at most (`seed` chooses them).  `steps` are PGD's, `queries` those of
    Square.  An `Engine` is used as it is: hand over an `Expectation` of a network that draws random numbers, else the
    verdict is 'inconclusive' at best, and 'masked' where means over `draws` gradients find more.  Images that fool the
    `surrogate` are tried on the model: by default a defended model's own network, else a network that is shipped for
    the same data, where there is one.  `watch` is told of every attack's steps; raising `Cancelled` in it stops.

    On the default 256 images it takes seconds for LeNet and for a network that PGD fools entirely.  Each image that
    stands costs 60 forward and backward passes more, and as one of the first hundred 600 forward passes and 100 both
    ways: together about a minute for the adversarially trained `cifar-cnn` on one core.  An `Expectation` takes as many
    times longer in its gradient passes as it draws.

    Raises `ParameterError` for an `eps` that is not above 0, an unknown norm and other numbers out of range,
    `InputError` where model and data do not fit.
    """
    check_seed(seed)
    for name, value in {"limit": limit, "steps": steps, "queries": queries, "draws": draws}.items():
        if not isinstance(value, int) or value < 1:
            raise ParameterError(f"{name} must be a whole number of at least 1, got {value!r}.")
    if not isinstance(eps, int | float):
        raise ParameterError(f"eps must be a number, got {eps!r}.")
    if not (math.isfinite(eps) and eps > 0):
        raise ParameterError(f"eps must be above 0, got {eps:g}: at 0 there is nothing to examine.")
    if norm not in NORMS:
        raise ParameterError(f"norm must be one of {', '.join(NORMS)}, got '{norm}'.")
    engine = model if isinstance(model, Engine) else Engine(model)
    network = engine.model
    data = data.aligned_to(network)
    data.check_against(network)
    if len(data) == 0:
        raise InputError(f"{data.name} has no images to examine.")
    chosen = data.limit(limit, seed)
    surrogate = surrogate or _own_surrogate(network, data)
    with seeded(seed, engine.device), warnings.catch_warnings():
        warnings.simplefilter("ignore", GradientWarning)  # a piece of the evidence counts them
        probe = Probe(engine, chosen.images, chosen.labels, seed, watch)
        settings = _Settings(eps=eps, norm=norm, steps=steps, queries=queries, draws=draws, early_stop=not probe.random)
        return _Examiner(probe, settings, surrogate, len(chosen)).run()


def _own_surrogate(network: nn.Module, data: ImageSet) -> nn.Module | None:
    """The network behind a defense, else another one that is shipped for these data; None where there is none."""
    if isinstance(network, Defended):
        return network.model
    info = describe(network)
    for name in _SHIPPED:
        try:
            found = load_model(name, data.task, offline=True)
        except FoolscopeError:
            continue
        other = describe(found)
        if other.trained_on == data.name and (other.name, other.weights) != (info.name, info.weights):
            return found
    return None


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """What the attacks of an examination share.

    Images do not leave an attack on a network that draws random numbers: one draw that errs is no success.
    """

    eps: float
    norm: str
    steps: int
    queries: int
    draws: int
    early_stop: bool

    def pgd(self, **changes: float | str | bool) -> PGD:
        """PGD on the cross-entropy, but for what is to be different."""
        return PGD(eps=self.eps, norm=self.norm, steps=self.steps, early_stop=self.early_stop).replace(**changes)

    @property
    def one_step(self) -> FGM:
        return FGM(eps=self.eps, norm=self.norm)

    @property
    def square(self) -> Square | None:
        if self.norm == "l1":
            return None
        return Square(eps=self.eps, norm=self.norm, queries=self.queries, early_stop=self.early_stop)

    def unbounded(self, values: int) -> float:
        """A radius within which every image of so many values can be made gray."""
        half = {"linf": _HALF, "l2": _HALF * math.sqrt(values), "l1": _HALF * values}[self.norm]
        return max(half, self.eps)


class _Examiner:
    """Asks every question about one network."""

    def __init__(self, probe: Probe, settings: _Settings, surrogate: nn.Module | None, count: int) -> None:
        self.probe, self.settings, self.surrogate, self.count = probe, settings, surrogate, count
        self.differentiable = probe.engine.info.differentiable
        square = settings.square
        if not self.differentiable and square is None:
            name = probe.engine.info.name
            raise InputError(f"{name} gives no gradients, and Square knows no l1: examine it in linf or l2.")
        self.attack: Attack = settings.pgd() if self.differentiable or square is None else square

    def run(self) -> Examination:
        probe, clean = self.probe, Proportion(len(self.probe), self.count)
        evidence = [self._images(), self._deterministic()]
        left = probe.stands
        if len(probe):
            left = self.left = ~probe.fooled(self.attack)
            probe.stands = left.clone()
            evidence += self._about_gradients() if self.differentiable else [self._no_gradient()]
            evidence += self._beyond_gradients()
        return Examination(
            eps=self.settings.eps,
            norm=self.settings.norm,
            attack=self.attack.spec(),
            clean=clean,
            accuracy=Proportion(int(left.sum()), self.count),
            lowest=Proportion(int(probe.stands.sum()), self.count),
            evidence=tuple(evidence),
        )

    def _images(self) -> Evidence:
        count = len(self.probe)
        if count >= FEWEST_IMAGES:
            return Evidence.told("images", "passed", f"The network classifies {count} of {self.count} images right.")
        told = f"Only {count} of {self.count} images are classified right: at least {FEWEST_IMAGES} are needed to tell."
        return Evidence.told("images", "unclear", told)

    def _deterministic(self) -> Evidence:
        draws = self.probe.engine.draws
        if not self.probe.random:
            return Evidence.told("deterministic", "passed", "The network gives the same logits twice.")
        if draws > 1:
            told = f"The network draws random numbers, and every gradient is a mean over {draws} draws."
            return Evidence.told("deterministic", "passed", told)
        told = (
            "The network draws random numbers, and a gradient is that of one draw: the number needs expectation over "
            "transformation (EOT), an Expectation in the network's place."
        )
        return Evidence.told("deterministic", "unclear", told)

    def _about_gradients(self) -> Iterator[Evidence]:
        """What can only be asked of a network that gives gradients."""
        settings, probe = self.settings, self.probe
        self.one_step = probe.fooled(settings.one_step)
        if probe.random and probe.engine.draws == 1:
            averaged = probe.twin("float32", settings.draws)
            told = f"PGD on gradients averaged over {settings.draws} draws"
            yield self._compared("expectation", told, self.attack, averaged)
        yield self._gradient()
        temperature = max(1.0, probe.lead / _COOL)
        fine, refused = self._float64()
        yield self._saturation(fine, temperature)
        yield self._compared("loss", "PGD on the margin", settings.pgd(loss="margin"))
        if temperature > 1:
            told = f"PGD on logits divided by {temperature:.3g}"
            yield self._compared("temperature", told, settings.pgd(temperature=temperature))
        else:
            told = f"The highest logit leads by at most {probe.lead:.3g} on 95 % of the images: nothing saturates."
            yield Evidence.told("temperature", "not applicable", told)
        if fine is None:
            yield Evidence.told("float64", "not applicable", refused)
        else:
            yield self._compared("float64", "PGD in float64", self.attack, fine, costly=True)
        yield self._gain("one-step", "one step along the gradient", self.one_step, torch.ones_like(self.left))
        more = settings.steps * _MORE_STEPS
        told = f"PGD with {more} steps instead of {settings.steps}"
        yield self._compared("steps", told, settings.pgd(steps=more), costly=True)

    def _beyond_gradients(self) -> Iterator[Evidence]:
        """What needs no gradients of the network, and whether all that can be done to an image is enough."""
        settings, probe = self.settings, self.probe
        if settings.square is None:
            yield Evidence.told("black-box", "not applicable", "Square knows no l1.")
        elif self.differentiable:
            told = f"Square with {settings.queries} queries"
            yield self._compared("black-box", told, settings.square, costly=True)
        yield self._transfer()
        among = self._population(costly=True)
        found = probe.found_at_random(settings.eps, settings.norm, self._attacked(among))
        yield self._gain("random-search", "a search among random points", found, among)
        if self.differentiable:
            radius = settings.unbounded(probe.images[0].numel())
            share = accuracy(self.left & ~probe.fooled(settings.pgd(eps=radius), rows=self.left))
            told = (
                f"PGD with a radius of {radius:.3g}, with which it can turn every image gray, leaves "
                f"{share.successes} of {share.trials} images."
            )
            yield Evidence.share("unbounded", share, told)

    def _gradient(self) -> Evidence:
        """The share of images whose gradient is zero, denormal, NaN or infinite."""
        labels = self.probe.labels
        passed = self.probe.engine.gradients(self.probe.images, lambda z, rows: cross_entropy(z, labels[rows]))
        lost = passed.broken | (passed.images.flatten(1).abs().amax(1) < _SMALLEST_NORMAL)
        share = accuracy(lost)
        told = f"Of {share.trials} images, {share.successes} have a gradient that is zero, denormal, NaN or infinite."
        return Evidence.share("gradient", share, told)

    def _no_gradient(self) -> Evidence:
        name = self.probe.engine.info.name
        model = self.probe.engine.model
        if isinstance(model, Defended) and describe(model.model).differentiable:
            told = f"{name} has a gradient, and its defense lets none pass: what cannot be attacked is not robust."
            return Evidence.told("gradient", "failed", told)
        told = f"{name} gives no gradients: the number rests on a search without them."
        return Evidence.told("gradient", "unclear", told)

    def _float64(self) -> tuple[Engine | None, str]:
        """An engine in float64, or why there is none."""
        engine = self.probe.twin("float64")
        try:
            engine.logits(self.probe.images[:1])
        except InputError as error:
            return None, f"It does not run in float64: {error}"
        return engine, ""

    def _saturation(self, fine: Engine | None, temperature: float) -> Evidence:
        """One step tells most: many small ones find their way also along gradients that are half wrong."""
        cooled = self.probe.fooled(self.settings.one_step.replace(temperature=temperature), fine)
        gained, lost = int((cooled & ~self.one_step).sum()), int((self.one_step & ~cooled).sum())
        value, low, high = paired_difference(gained, lost, len(self.probe))
        where = "in float64" if fine else "in float32"
        told = (
            f"Of {len(self.probe)} images, one step {where} on logits divided by {temperature:.3g} fools {gained} that "
            f"one step on the plain cross-entropy leaves, and leaves {lost} that it fools."
        )
        return Evidence.measured("saturation", value, low, high, told)

    def _transfer(self) -> Evidence:
        surrogate = self.surrogate
        if surrogate is None:
            return Evidence.told("transfer", "not applicable", "No other network is given or shipped for these data.")
        name = describe(surrogate).name
        if not describe(surrogate).differentiable:
            return Evidence.told("transfer", "not applicable", f"The other network, {name}, gives no gradients.")
        engine = Engine(surrogate, device=self.probe.engine.device)
        return self._compared("transfer", f"PGD on {name}", self.settings.pgd(early_stop=False), engine)

    def _compared(
        self, code: str, who: str, attack: Attack, engine: Engine | None = None, *, costly: bool = False
    ) -> Evidence:
        """What `attack`, on `engine` where it is another, finds beyond the attack of the number."""
        among = self._population(costly)
        return self._gain(code, who, self.probe.fooled(attack, engine, rows=self._attacked(among)), among)

    def _population(self, costly: bool) -> Tensor:
        """The images (n,) that a question is about: of costly ones, and of random networks, the first hundred."""
        among = torch.ones_like(self.left)
        if costly or self.probe.random:
            among[_COSTLY:] = False
        return among

    def _attacked(self, among: Tensor) -> Tensor:
        """The images (n,) that have to be attacked to answer a question about `among`.

        Those that the attack of the number left; of a random network all, as it leaves others every time.
        """
        return among if self.probe.random else among & self.left

    def _gain(self, code: str, who: str, found: Tensor, among: Tensor) -> Evidence:
        """What was found of the images `among` (n,) beyond what the attack of the number fools.

        Of a random network that is the net gain: trying again what is near a boundary always finds something.
        """
        self.probe.stands &= ~found
        gained, trials = int((found & self.left & among).sum()), int(among.sum())
        name = "PGD" if self.differentiable else "Square"
        if self.probe.random:
            lost = int((among & ~self.left & ~found).sum())
            told = f"Of {trials} images, {who} fools {gained} that {name} leaves, and leaves {lost} that {name} fools."
            return Evidence.measured(code, *paired_difference(gained, lost, trials), told)
        told = f"Of {trials} images, {who} fools {gained} that {name} leaves."
        if not (self.left & among).any():
            told = f"Of {trials} images, {name} leaves none to find."
        return Evidence.share(code, Proportion(gained, trials), told)
