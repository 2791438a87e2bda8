"""The methods of `foolscope explain`: each computes with the library and makes a part of the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from foolscope.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn

    from foolscope.explain import Band, Explainer, TransferFunction
    from foolscope.explain.frequencies import Watch
    from foolscope.explain.grad_cam import Reshape
    from foolscope.models.engine import Engine
    from foolscope.report.explain_maps import Maps
    from foolscope.report.explain_parts import Part, Subject

LOGITS = "logits"
"""What stands for the logits where a layer is named."""

_LARGE = 64
_RESOLUTION = 16
_NORMS = (4.0, 15.7)


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is explained, and how; `watch` is told how far a method is."""

    engine: Engine
    subject: Subject
    layers: tuple[str, ...]
    explainer: str
    reshape: Reshape | None
    resolution: int | None
    direction: str
    qualities: tuple[int, ...]
    norm: float | None
    reach: int | None
    bands: tuple[Band, ...]
    seed: int
    watch: Watch | None = None

    @property
    def images(self) -> Tensor:
        """The images (N, C, H, W)."""
        return self.subject.data.images

    @property
    def labels(self) -> Tensor:
        """The classes that are explained (N,)."""
        return self.subject.data.labels

    @property
    def is_large(self) -> bool:
        """Whether the images are larger than CIFAR's and MNIST's by far."""
        return max(self.images.shape[2:]) > _LARGE

    @property
    def moved(self) -> tuple[Tensor, Tensor, Tensor]:
        """The places (M,) of the images that the attack changed, these, and their adversarial images."""
        assert self.subject.adversarial is not None, "asked for before"
        rows = self.subject.moved
        return rows, self.images[rows], self.subject.adversarial[rows]


@dataclass(frozen=True, kw_only=True)
class Method:
    """One method: what it shows, in a line, and what it needs."""

    summary: str
    part: Callable[[Study], Part]
    is_map: bool = False
    needs_gradients: bool = False
    needs_attack: bool = False
    needs_contrast: bool = False


def _maps(study: Study, name: str) -> Part:
    """Maps of the classes; also of the adversarial images where there is an attack."""
    from foolscope.report import explain_maps

    title, unit, told = explain_maps.METHODS[name]
    layer = grad_cam_layer(study) if name == "grad-cam" else ""
    adversarial = study.subject.adversarial
    found = _computed(study, name, study.images)
    attacked = None if adversarial is None else _computed(study, name, adversarial)
    part = explain_maps.maps_part(study.subject, name, title, (told.format(layer=layer),), found, attacked, unit)
    if name == "grad-cam":
        return replace(part, data={**part.data, "layer": layer, "empty": _empty(found)})
    if name == "integrated-gradients" and found.signed is not None:
        return _with_gap(study, part, found.signed)
    return part


def _computed(study: Study, name: str, images: Tensor) -> Maps:
    from foolscope import explain
    from foolscope.randomness import generator
    from foolscope.report.explain_maps import Maps

    if name == "grad-cam":
        return Maps(magnitudes=_grad_cam(study, study.engine, images, study.labels))
    if name == "saliency":
        signed = explain.saliency(study.engine, images, study.labels)
    elif name == "smooth-grad":
        signed = explain.smooth_grad(study.engine, images, study.labels, rng=generator(study.seed))
    else:
        signed = explain.integrated_gradients(study.engine, images, study.labels)
    return Maps(magnitudes=explain.pixel_saliency(signed), signed=signed)


def grad_cam_layer(study: Study) -> str:
    """The layer of Grad-CAM: the first that is named, else the one that the library finds.

    Raises `InputError` where it finds none, with the options that name one.
    """
    from foolscope import explain
    from foolscope.errors import InputError

    named = [layer for layer in study.layers if layer != LOGITS]
    if named:
        return named[0]
    try:
        return explain.grad_cam_layer(study.engine, study.images[:1])
    except InputError as error:
        raise InputError(f"{error} Here the options --layer and --reshape do; '--layer list' lists them.") from None


def _grad_cam(study: Study, model: nn.Module | Engine, images: Tensor, labels: Tensor) -> Tensor:
    from foolscope import explain

    layer = grad_cam_layer(study)
    found = explain.class_activation(model, images, labels, layer, reshape=study.reshape)
    return found.maps(*images.shape[-2:])


def _empty(found: Maps) -> list[int]:
    """Which maps are 0 everywhere."""
    rows: list[int] = (found.magnitudes.flatten(1).amax(1) == 0).nonzero()[:, 0].tolist()
    return rows


def _with_gap(study: Study, part: Part, signed: Tensor) -> Part:
    """With what the integral misses."""
    from foolscope import explain
    from foolscope.measure import mean_interval
    from foolscope.report.explain_parts import Measure

    gap = explain.completeness_gap(study.engine, study.images, study.labels, signed).abs()
    told = Measure.of("what the integral misses, magnitude (logits)", mean_interval(gap))
    return replace(part, measures=(*part.measures, told))


def explainer(study: Study) -> Explainer:
    """The method whose maps are compared: of Grad-CAM with the study's own layer."""
    from foolscope.explain import EXPLAINERS

    return partial(_grad_cam, study) if study.explainer == "grad-cam" else EXPLAINERS[study.explainer]


def _stability(study: Study) -> Part:
    from foolscope import explain
    from foolscope.randomness import generator
    from foolscope.report.explain_maps import stability_part

    rows, originals, adversarial = study.moved
    labels = study.labels[rows]
    explained = explainer(study)
    found = explain.explanation_stability(
        study.engine, originals, adversarial, labels, explain=explained, rng=generator(study.seed)
    )
    energy = explain.energy_on_salient(adversarial - originals, explained(study.engine, originals, labels))
    return stability_part(study.subject, study.explainer, found, energy, rows)


def _faithfulness(study: Study) -> Part:
    from foolscope import explain
    from foolscope.randomness import generator
    from foolscope.report.explain_maps import faithfulness_part

    engine, images, labels, explained = study.engine, study.images, study.labels, explainer(study)
    maps = explained(engine, images, labels)
    curves = [
        curve(engine, images, labels, maps, rng=generator(study.seed))
        for curve in (explain.deletion_curve, explain.insertion_curve)
    ]
    randomized = explain.model_randomization(engine, images, labels, explain=explained, rng=generator(study.seed))
    return faithfulness_part(study.explainer, curves[0], curves[1], randomized)


def _transfer(study: Study) -> Part:
    from foolscope.report.explain_frequency import transfer_part

    layers = study.layers or (*_first_convolution(study), LOGITS)
    return transfer_part([_probed(study, study.engine, layer) for layer in layers])


def _first_convolution(study: Study) -> tuple[str, ...]:
    """Its name; none of a network without convolutions."""
    from torch import nn

    named = (name for name, layer in study.engine.model.named_modules() if isinstance(layer, nn.Conv2d) and name)
    return tuple(named)[:1]


def _probed(study: Study, engine: Engine, layer: str) -> TransferFunction:
    from foolscope import explain

    height, width = study.images.shape[2:]
    resolution = min(height, width, _RESOLUTION) if study.resolution is None and study.is_large else study.resolution
    return explain.transfer_function(
        engine,
        None if layer == LOGITS else layer,
        (height, width),
        resolution=resolution,
        direction=study.direction,
        watch=study.watch,
    )


def _jacobian(study: Study) -> Part:
    from foolscope import explain
    from foolscope.report.explain_frequency import jacobian_part

    return jacobian_part(explain.jacobian_transfer_function(study.engine, study.images, study.labels))


def _jpeg(study: Study) -> Part:
    from foolscope.defenses import defended
    from foolscope.models.engine import Engine
    from foolscope.report.explain_jpeg import jpeg_part

    layer = (study.layers or _first_convolution(study) or (LOGITS,))[0]
    plain = _probed(study, study.engine, layer)
    behind, codec = {}, {}
    for quality in study.qualities:
        network = defended(study.engine.model, f"jpeg:quality={quality}")
        engine = Engine(network, device=study.engine.device)
        behind[quality] = _probed(study, engine, layer if layer == LOGITS else f"model.{layer}")
        codec[quality] = _probed(study, engine, "defense")
    return jpeg_part(plain, behind, codec)


def _heatmap(study: Study) -> Part:
    from foolscope import explain
    from foolscope.defenses import Defended
    from foolscope.randomness import generator
    from foolscope.report.explain_bands import heatmap_part

    norm = _NORMS[study.is_large] if study.norm is None else study.norm
    found = explain.fourier_heatmap(
        study.engine,
        study.subject.data,
        norm,
        reach=study.reach,
        clip=isinstance(study.engine.model, Defended),  # defenses take images in [0, 1] alone
        rng=generator(study.seed),
        watch=study.watch,
    )
    return heatmap_part(found)


def _spectrum(study: Study) -> Part:
    from foolscope import explain
    from foolscope.randomness import generator
    from foolscope.report.explain_frequency import spectrum_part

    rows, originals, adversarial = study.moved
    found = explain.noise_spectrum(adversarial - originals, originals, rng=generator(study.seed))
    return spectrum_part(study.subject, found, rows)


def _bands(study: Study) -> Part:
    from foolscope import explain
    from foolscope.measure import accuracy
    from foolscope.report.explain_bands import bands_part

    engine, images, labels, adversarial = study.engine, study.images, study.labels, study.subject.adversarial
    passed = explain.band_accuracy(engine, study.subject.data, study.bands)
    noise: Sequence[tuple[explain.NoiseBand, explain.NoiseBand]] = ()
    if adversarial is not None:
        plain, scaled = (
            explain.noise_bands(engine, images, adversarial, labels, study.bands, renormalize=flag)
            for flag in (False, True)
        )
        noise = tuple(zip(plain, scaled, strict=True))
    return bands_part(study.subject, passed, accuracy(study.subject.predictions == labels), noise)


def _map_method(name: str, summary: str) -> Method:
    return Method(summary=summary, part=partial(_maps, name=name), is_map=True, needs_gradients=True)


METHODS: Registry[Method] = Registry(
    "method",
    "foolscope explain --method list",
    {
        "saliency": _map_method("saliency", "which pixels move the class's score: its gradient"),
        "smooth-grad": _map_method("smooth-grad", "the same, averaged over noisy versions of the image"),
        "integrated-gradients": _map_method("integrated-gradients", "what each pixel adds to the score, from black on"),
        "grad-cam": _map_method("grad-cam", "where a convolutional layer sees the class"),
        "stability": Method(
            summary="how an attack changes the maps, beside random noise of the same norm", part=_stability,
            needs_gradients=True, needs_attack=True,
        ),
        "faithfulness": Method(
            summary="deletion and insertion curves, and maps of networks with random weights", part=_faithfulness,
            needs_gradients=True, needs_contrast=True,
        ),
        "transfer-function": Method(
            summary="how strongly layers answer to each spatial frequency", part=_transfer,
        ),
        "jacobian": Method(
            summary="the same for the logits at the images: one backward pass each", part=_jacobian,
            needs_gradients=True,
        ),
        "jpeg": Method(summary="transfer functions behind JPEG, and JPEG's own gain and distortion", part=_jpeg),
        "spectrum": Method(
            summary="the frequencies that an attack writes into, beside white noise", part=_spectrum,
            needs_attack=True,
        ),
        "heatmap": Method(summary="the error rate under a wave of each frequency", part=_heatmap),
        "bands": Method(
            summary="accuracy on bands of the images, and which band of the noise fools", part=_bands,
            needs_contrast=True,
        ),
    },
)  # fmt: skip
"""Every method by its name."""
