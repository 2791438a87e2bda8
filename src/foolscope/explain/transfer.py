"""Transfer functions: how strongly a layer answers to each spatial frequency (Fig. 8, 9 and 12 of the report).

The response of what a layer computes, A(x), to the frequency f is the length of its answer to the wave e_f:

    R(f) = |dA/dx e_f|,   e_f(y, x) = exp(2 pi i (f_v y + f_h x))

`transfer_function` measures it by probing: waves of a stated amplitude on a stated gray, at several phases p, and the
part of the answer that follows the phase, Z = 2 / (P a) sum over p of A(m + a cos(angle + p)) exp(-i p).  Of a linear
layer that is R(f) exactly; of a nonlinear one it is the describing function, and `distortion` says how much of the
answer is something else.  It holds through strides, pooling and dense layers, because only the phase is followed.

`kernel_transfer_function` is the closed form for a layer that is linear in the image, the DFT of its kernels.

`jacobian_transfer_function` is that of the whole network at real images, the unitary DFT of the input gradient of the
logit (Krishnamachari, Ng and Foo 2023, arXiv 2301.13514, who take the loss, whose gradient vanishes where the network
is certain); one backward pass an image.  Its unit is a wave of l2 norm 1, not of amplitude 1: times sqrt(H W) it is
comparable with the others.

With JPEG in front, probe `defended(model, "jpeg:quality=50")`: its layers are called `model.NAME`, and its layer
`defense` is JPEG itself, whose response is a gain and whose `distortion` is what it invents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from foolscope.errors import InputError, ParameterError, nearest
from foolscope.explain.frequencies import Bins, HalfPlane, Profile, Watch, axis, shifted_cosines
from foolscope.explain.layers import Into, UpTo, check_layer, engine_like, engine_of, gradient_engine
from foolscope.explain.saliency import check_classes, score_gradients
from foolscope.models.classifier import describe
from foolscope.models.engine import Engine, chunk_size

Size = int | tuple[int, int]
Direction = str | Sequence[float]
"""A color that the wave swings along: gray, red, green, blue, or one number a channel."""

COLORS = {"gray": (1.0, 1.0, 1.0), "red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0)}

_RESOLUTION = 32
_LINEAR_TOLERANCE = 1e-4
_ROUNDING = 1e-6
_CHUNKS_PER_BLOCK = 8


@dataclass(frozen=True, kw_only=True)
class TransferFunction:
    """The response of a layer, or of the logits (`layer` None), to every frequency of a grid.

    `vertical` (R,) and `horizontal` (S,) are the axes in cycles per pixel, 0 in the middle.  `channels` (K, R, S) is
    the response of each channel or logit, `response` (R, S) their root mean square, both in `unit`, and `radial` its
    mean over rings, with intervals over `samples` images where there are any.  `direction` (C,) is the color of the
    wave, None where all colors count.  `distortion` (R, S), of a probed layer, is the share of the answer's energy,
    without its mean, that does not follow the wave: 0 to 1, and 0 of a linear layer.
    """

    model: str
    layer: str | None
    method: Literal["probe", "kernel", "jacobian"]
    vertical: Tensor
    horizontal: Tensor
    channels: Tensor
    response: Tensor
    radial: Profile
    distortion: Tensor | None
    direction: tuple[float, ...] | None
    amplitude: float | None
    mean: float | None
    phases: int | None
    samples: int
    unit: str


def transfer_function(
    model: nn.Module | Engine,
    layer: str | None = None,
    size: Size | None = None,
    *,
    resolution: int | None = None,
    direction: Direction = "gray",
    amplitude: float = 0.1,
    mean: float = 0.5,
    phases: int = 8,
    watch: Watch | None = None,
) -> TransferFunction:
    """Probe `layer` (default: the logits) with waves of every frequency; also of models without gradients.

    `size` is the images' side or (height, width), needed where the model takes any; `resolution` the number of
    frequencies along each axis (default: as many as pixels, at most 32).  Waves swing by `amplitude` around the gray
    `mean`, along `direction` scaled to a largest channel of 1, at `phases` phases; P phases keep harmonics up to P - 2
    out.  Of a layer with positions the middle half in each direction counts, away from the padding.
    resolution^2 phases / 2 forward passes up to the layer; `watch` is told of them, and may raise `Cancelled`.
    Raises `ParameterError` for settings out of range, waves that leave [0, 1] and a size that is missing, `SpecError`
    for a layer that is not there.
    """
    engine = engine_of(model)
    shape = _shape(engine, size)
    color = _color(direction, shape[0])
    if not 0 < amplitude <= min(mean, 1 - mean) + 1e-9:
        raise ParameterError(
            f"waves of amplitude {amplitude:g} around {mean:g} leave [0, 1]: amplitude must be above 0 and at most "
            "mean and 1 - mean."
        )
    if phases < 3:
        raise ParameterError(f"phases must be at least 3 to tell a wave from its mean, got {phases}.")
    vertical, horizontal = (_axis(side, resolution) for side in shape[1:])
    half = HalfPlane.of(*shape[1:], vertical, horizontal)
    answers = _answers(engine, layer)
    shifts = torch.arange(phases, dtype=torch.float64) * 2 * torch.pi / phases
    carrier = (2 / phases / amplitude * torch.stack([shifts.cos(), shifts.sin()])).float()
    swing = (amplitude * color).float()[:, None, None]
    block = max(1, chunk_size(torch.empty(0, *shape)) // phases)
    powers, distortions = [], []
    for begin in range(0, len(half), block):
        waves = shifted_cosines(half.angles(slice(begin, begin + block)), shifts).clamp_(-1, 1)
        found = answers((swing * waves[:, :, None]).add_(mean).flatten(0, 1))
        found = found.view(len(waves), phases, *found.shape[1:])
        varies = found - found.mean(1, keepdim=True)
        follows = (carrier @ varies.flatten(2)).square_().sum(1)
        powers.append(follows.view(len(waves), *found.shape[2:]).mean(2).double())
        rounding = _ROUNDING * float(found.abs().max())
        energy = varies.square_().flatten(1).mean(1)
        distortions.append(_rest(follows.mean(1) * (amplitude**2 / 2), energy, rounding**2))
        if watch:
            watch(min(begin + block, len(half)), len(half))
    power = torch.cat(powers).T[:, half.place]
    return _record(
        engine,
        layer,
        "probe",
        (vertical.double() / shape[1], horizontal.double() / shape[2]),
        power.sqrt(),
        distortion=torch.cat(distortions)[half.place],
        direction=tuple(color.tolist()),
        amplitude=amplitude,
        mean=mean,
        phases=phases,
        unit=f"{'logits' if layer is None else 'activation'} per unit of image amplitude",
    )


def kernel_transfer_function(
    model: nn.Module | Engine,
    layer: str,
    size: Size | None = None,
    *,
    resolution: int | None = None,
    direction: Direction = "gray",
) -> TransferFunction:
    """The closed form for a convolution or a dense layer that sees the image itself, or each channel scaled.

    It is that of an image without borders.  Arguments as for `transfer_function`, with which it agrees.
    Raises `InputError` for another layer, and for one that sees something else; otherwise as `transfer_function`.
    """
    engine = engine_of(model)
    module = engine.model.get_submodule(check_layer(engine.model, layer))
    if not isinstance(module, nn.Conv2d | nn.Linear):
        raise InputError(
            f"layer '{layer}' is a {type(module).__name__}: the closed form is that of Conv2d and Linear; "
            "transfer_function probes any layer."
        )
    shape = _shape(engine, size)
    color = _color(direction, shape[0])
    vertical, horizontal = (_axis(side, resolution) for side in shape[1:])
    weights = color * _scales(engine, layer, module, shape)
    kernels = _kernels(module, shape, weights)
    rows, columns = (
        torch.exp(-2j * torch.pi * step * cycles[:, None].double() / side * torch.arange(taps))
        for step, cycles, side, taps in zip(
            module.dilation if isinstance(module, nn.Conv2d) else (1, 1),
            (vertical, horizontal),
            shape[1:],
            kernels.shape[1:],
            strict=True,
        )
    )
    channels = (rows @ kernels.to(rows.dtype) @ columns.T).abs()
    return _record(
        engine,
        layer,
        "kernel",
        (vertical.double() / shape[1], horizontal.double() / shape[2]),
        channels,
        direction=tuple(color.tolist()),
        unit="activation per unit of image amplitude",
    )


def jacobian_transfer_function(
    model: nn.Module | Engine,
    images: Tensor,
    labels: Tensor,
    *,
    direction: Direction | None = None,
) -> TransferFunction:
    """The mean over `images` (N, C, H, W) of |unitary DFT of dS_c / dI|, S_c the logits of `labels` (N,).

    With a `direction` the response to waves of that color; without, the root of the sum of the channels' squares,
    whose squares sum up to ||dS_c / dI||_2^2 over the frequencies.  `channels` has one entry.
    Raises `InputError` for images or labels that break the contract, for none, and for models without gradients.
    """
    engine = gradient_engine(model, "the Jacobian's transfer function")
    labels = check_classes(engine, images, labels)
    if not len(images):
        raise InputError("the Jacobian's transfer function needs at least one image.")
    channels, height, width = images.shape[1:]
    color = None if direction is None else _color(direction, channels)
    axes = axis(height).double() / height, axis(width).double() / width
    rings, means = Bins.rings(*axes), []
    total = torch.zeros(height, width, dtype=torch.float64)
    size = (engine.chunk or chunk_size(images)) * _CHUNKS_PER_BLOCK
    for begin in range(0, len(images), size):
        part = slice(begin, begin + size)
        slopes = score_gradients(engine, images[part], labels[part]).cpu().double()
        if color is not None:
            slopes = (slopes * color[:, None, None]).sum(1, keepdim=True)
        transform = torch.fft.fftshift(torch.fft.fft2(slopes, norm="ortho"), dim=(2, 3))
        size_of = torch.linalg.vector_norm(transform, dim=1)
        total += size_of.sum(0)
        means.append(rings.means(size_of))
    return _record(
        engine,
        None,
        "jacobian",
        axes,
        (total / len(images))[None],
        radial=rings.profile(torch.cat(means)),
        direction=None if color is None else tuple(color.tolist()),
        samples=len(images),
        unit="logits per unit of l2 norm",
    )


def _record(
    engine: Engine,
    layer: str | None,
    method: Literal["probe", "kernel", "jacobian"],
    axes: tuple[Tensor, Tensor],
    channels: Tensor,
    *,
    unit: str,
    direction: tuple[float, ...] | None,
    radial: Profile | None = None,
    distortion: Tensor | None = None,
    amplitude: float | None = None,
    mean: float | None = None,
    phases: int | None = None,
    samples: int = 0,
) -> TransferFunction:
    response = channels.square().mean(0).sqrt()
    if radial is None:
        rings = Bins.rings(*axes)
        radial = rings.profile(rings.means(response[None]))
    return TransferFunction(
        model=engine.info.name,
        layer=layer,
        method=method,
        vertical=axes[0],
        horizontal=axes[1],
        channels=channels,
        response=response,
        radial=radial,
        distortion=distortion,
        direction=direction,
        amplitude=amplitude,
        mean=mean,
        phases=phases,
        samples=samples,
        unit=unit,
    )


def _axis(side: int, resolution: int | None) -> Tensor:
    return axis(side, min(side, _RESOLUTION) if resolution is None else resolution)


def _answers(engine: Engine, layer: str | None) -> Callable[[Tensor], Tensor]:
    """From images to what the layer answers in the middle of its positions: (N, K, positions)."""
    if layer is None:
        return lambda images: engine.logits(images)[..., None]
    part = UpTo(engine.model, layer, _middle)
    runner = engine_like(engine, part)
    return lambda images: runner.logits(images).view(len(images), *part.shape)


def _middle(answer: Tensor) -> Tensor:
    """The middle half, in each direction, of maps (N, K, h, w); all of tokens (N, T, K) and of vectors (N, K)."""
    if answer.ndim == 4:
        height, width = answer.shape[2:]
        return answer[:, :, height // 4 : height - height // 4, width // 4 : width - width // 4].flatten(2)
    return answer.flatten(1, -2).transpose(1, 2) if answer.ndim > 2 else answer[..., None]


def _rest(follows: Tensor, energy: Tensor, least: float) -> Tensor:
    """The share of `energy` (n,) that is not in `follows` (n,); 0 where it is not above `least`."""
    share = (1 - follows.double() / energy.double()).clamp(0, 1)
    return torch.where(energy > least, share, torch.zeros_like(share))


def _shape(engine: Engine, size: Size | None) -> tuple[int, int, int]:
    """Channels, height and width of the waves."""
    model, declared = engine.info, engine.info.input_shape
    first = next((m for m in engine.model.modules() if isinstance(m, nn.Conv2d)), None)
    channels = declared[0] if declared else first.in_channels if first and first.in_channels in (1, 3) else None
    if channels is None:
        raise ParameterError(f"{model.name} does not say whether it takes gray or color images: wrap it in Classifier.")
    height, width = (size, size) if isinstance(size, int) else size or (declared[1:] if declared else (None, None))
    if height is None or width is None:
        raise ParameterError(f"{model.name} does not say which size its images have: give size=, such as size=224.")
    if min(height, width) < 1:
        raise ParameterError(f"size must be at least 1 pixel, got {height} x {width}.")
    return channels, height, width


def _color(direction: Direction, channels: int) -> Tensor:
    """The wave's color (C,), float64, its largest channel scaled to 1."""
    if isinstance(direction, str):
        if direction not in COLORS:
            hint = nearest(direction, COLORS)
            raise ParameterError(
                f"direction must be one of {', '.join(COLORS)} or a number a channel, got '{direction}'.{hint}"
            )
        if channels == 1 and direction != "gray":
            raise ParameterError(f"a gray image has no {direction}: direction must be gray.")
        direction = COLORS[direction][:channels]
    color = torch.tensor([float(x) for x in direction], dtype=torch.float64)
    if len(color) != channels or not color.isfinite().all() or not color.any():
        raise ParameterError(
            f"direction must be {channels} finite numbers, not all 0, for {channels} channels, got {tuple(direction)}."
        )
    return color / color.abs().max()


def _scales(engine: Engine, layer: str, module: nn.Conv2d | nn.Linear, shape: tuple[int, int, int]) -> Tensor:
    """By how much each channel is scaled before it reaches the layer (C,).  Raises `InputError` where more happens."""
    black, white = torch.zeros(1, *shape), torch.ones(1, *shape)
    noise = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    given = engine_like(engine, Into(engine.model, layer)).logits(torch.cat([black, white, noise])).double()
    takes = module.in_features if isinstance(module, nn.Linear) else module.in_channels * shape[1] * shape[2]
    if given.shape[1] == takes == black.numel():
        given = given.view(3, *shape)
        slope = (given[1] - given[0]).mean((1, 2), keepdim=True)
        expected = torch.stack([given[0], given[0] + slope, given[0] + slope * noise[0]])
        if float((given - expected).abs().max()) <= _LINEAR_TOLERANCE * float(given.abs().max()):
            return slope.flatten()
    raise InputError(
        f"layer '{layer}' of {describe(engine.model).name} does not see the image itself, so that it has no closed "
        "form for it; transfer_function probes any layer."
    )


def _kernels(module: nn.Conv2d | nn.Linear, shape: tuple[int, int, int], weights: Tensor) -> Tensor:
    """What the layer makes of one wave in these channels: float64 (K, taps, taps)."""
    weight = module.weight.detach().cpu().double()
    if isinstance(module, nn.Linear):
        return (weight.view(len(weight), *shape) * weights[:, None, None]).sum(1)
    of_group = weights.view(module.groups, -1).repeat_interleave(len(weight) // module.groups, 0)
    return (weight * of_group[:, :, None, None]).sum(1)
