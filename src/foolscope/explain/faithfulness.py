"""Whether maps tell the truth about a network: deletion and insertion curves, and model randomization.

Deletion takes the pixels that a map ranks first out of the image and watches the class's probability fall; insertion
puts them back into nothing (Petsiuk, Das and Saenko 2018, RISE, arXiv 1806.07421).  A faithful map has a small area
under the first curve and a large one under the second, compared with a random order of pixels.  Here 'nothing' is the
mean of each of the image's channels unless a canvas is given; RISE takes black and a blurred image.

Model randomization (Adebayo et al. 2018, arXiv 1810.03292) replaces the network's weights by noise, from the logits
down: a map that stays the same does not depend on what the network has learned.  They draw initial weights again; we
draw every tensor from a normal distribution with its own mean and standard deviation, so that activations keep their
scale and every kind of layer is treated alike.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foolscope.errors import InputError, ParameterError
from foolscope.explain.layers import engine_like, engine_of, gradient_engine
from foolscope.explain.maps import Agreement, Explainer, agreement, check_maps, saliency_map
from foolscope.explain.saliency import check_classes, pixel_ranking
from foolscope.measure import Mean, mean_interval
from foolscope.models.engine import Engine
from foolscope.randomness import Streams, draw_seed, generator


@dataclass(frozen=True, kw_only=True)
class PixelCurve:
    """The class's probability as pixels go or come, most salient first.

    `pixels` (S + 1,) are the shares of pixels, from 0 to 1; `probabilities` (N, S + 1) those of each image, and `means`
    their means with intervals.  `area` (N,) is the area under each curve, 0 to 1.  `null_probabilities` and `null_area`
    are the same for pixels in random order.
    """

    pixels: Tensor
    probabilities: Tensor
    means: tuple[Mean, ...]
    area: Tensor
    null_probabilities: Tensor
    null_area: Tensor


@dataclass(frozen=True, kw_only=True)
class RandomizedLayer:
    """Agreement of the maps with those of the network whose `layer` was randomized, and in a cascade all above it."""

    layer: str
    agreement: Agreement


def deletion_curve(
    model: nn.Module | Engine,
    images: Tensor,
    labels: Tensor,
    maps: Tensor,
    *,
    steps: int = 28,
    canvas: Tensor | None = None,
    rng: torch.Generator | None = None,
) -> PixelCurve:
    """Probability of `labels` (N,) while the pixels of `images` (N, C, H, W) turn into `canvas`, most salient first.

    `maps` (N, H, W) rank the pixels, `canvas` broadcasts to the images (default: each channel's mean), `rng` decides
    the random order (default: seed 0).  2 (steps + 1) forward passes an image; models need no gradients.
    Raises `InputError` for images, labels or maps that break the contract, `ParameterError` for fewer than 1 step.
    """
    return _curve(model, images, labels, maps, steps, canvas, rng, False)


def insertion_curve(
    model: nn.Module | Engine,
    images: Tensor,
    labels: Tensor,
    maps: Tensor,
    *,
    steps: int = 28,
    canvas: Tensor | None = None,
    rng: torch.Generator | None = None,
) -> PixelCurve:
    """Probability of `labels` while `canvas` turns into the images.  Arguments and errors as for `deletion_curve`."""
    return _curve(model, images, labels, maps, steps, canvas, rng, True)


def model_randomization(
    model: nn.Module | Engine,
    images: Tensor,
    labels: Tensor,
    *,
    explain: Explainer = saliency_map,
    cascade: bool = True,
    k: int | None = None,
    rng: torch.Generator | None = None,
) -> tuple[RandomizedLayer, ...]:
    """How much the maps of `images` (N, C, H, W) for `labels` (N,) agree with those of randomized networks.

    Layers with parameters of their own are randomized from the last one that the model holds to the first: with
    `cascade` each on top of those before it, without it each alone.  The model is not touched.  `explain` is a method
    from `EXPLAINERS` or one of your own, `k` as for `agreement`; `rng` decides the weights (default: seed 0).
    Raises `InputError` for images or labels that break the contract, for models without gradients or parameters, and
    for those that cannot be copied.
    """
    engine = gradient_engine(model, "model randomization")
    labels = check_classes(engine, images, labels)
    names = [n for n, m in engine.model.named_modules() if next(m.parameters(recurse=False), None) is not None]
    if not names:
        raise InputError(f"{engine.info.name} has no parameters to randomize.")
    rng = rng or generator(0)
    learned, changed = explain(engine, images, labels), _copied(engine)
    found = []
    for name in reversed(names):
        if not cascade:
            changed = _copied(engine)
        _randomize(changed.get_submodule(name), rng)
        maps = explain(engine_like(engine, changed), images, labels)
        found.append(RandomizedLayer(layer=name, agreement=agreement(learned, maps, k)))
    return tuple(found)


def _curve(
    model: nn.Module | Engine,
    images: Tensor,
    labels: Tensor,
    maps: Tensor,
    steps: int,
    canvas: Tensor | None,
    rng: torch.Generator | None,
    inserts: bool,
) -> PixelCurve:
    engine = engine_of(model)
    labels = check_classes(engine, images, labels)
    check_maps(maps)
    if maps.shape != (len(images), *images.shape[2:]):
        raise InputError(f"maps must be of the images {tuple(images.shape)}, got {tuple(maps.shape)}.")
    if steps < 1:
        raise ParameterError(f"steps must be at least 1, got {steps}.")
    start = images.mean((2, 3), keepdim=True) if canvas is None else canvas.to(images)
    begin, end = (start.expand_as(images), images) if inserts else (images, start.expand_as(images))
    pixels = maps[0].numel() if len(maps) else 1
    counts = [round(step * pixels / steps) for step in range(steps + 1)]
    random = Streams(draw_seed(rng or generator(0)), images).uniform(tuple(images.shape[2:]))

    def probabilities(order: Tensor) -> Tensor:
        places = pixel_ranking(order).argsort(1).view_as(order)[:, None]  # each pixel's rank
        logits = (engine.logits(torch.where(places < count, end, begin)) for count in counts)
        return torch.stack([z.softmax(1).gather(1, labels[:, None])[:, 0] for z in logits], 1).double()

    found, null = probabilities(maps), probabilities(random)
    shares = torch.tensor(counts, dtype=torch.float64) / pixels
    return PixelCurve(
        pixels=shares,
        probabilities=found,
        means=tuple(mean_interval(column) for column in found.unbind(1)),
        area=torch.trapezoid(found, shares.to(found.device), dim=1),
        null_probabilities=null,
        null_area=torch.trapezoid(null, shares.to(null.device), dim=1),
    )


def _copied(engine: Engine) -> nn.Module:
    try:
        return copy.deepcopy(engine.model)
    except Exception as error:  # whatever a user's module raises when it is copied
        raise InputError(f"{engine.info.name} cannot be copied, so it cannot be randomized: {error}") from error


def _randomize(layer: nn.Module, rng: torch.Generator) -> None:
    """Give the layer's own parameters random values with their mean and standard deviation."""
    with torch.no_grad():
        for parameter in layer.parameters(recurse=False):
            noise = torch.randn(parameter.shape, generator=rng).to(parameter)
            parameter.copy_(parameter.mean() + parameter.std(correction=0) * noise)
