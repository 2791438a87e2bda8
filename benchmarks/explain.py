"""Explanations against the plain way to compute them: `python benchmarks/explain.py`.

Saliency stands beside a forward and a backward pass in chunks, the Jacobian's transfer function beside the same, maps
beside Captum's where that is installed (`pip install --no-deps captum`), and the Fourier heat map beside the direct
method, which runs the network for every frequency of the plane.  Both sides must give the same numbers.  The heat map
is measured on `--heat-images` images and `--reach`, and its time for 31 x 31 frequencies and 1,000 images is told from
that.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable

import torch
from timing import Job, interleaved, machine, markdown, median_ratio
from torch import Tensor, nn

from foolscope import explain
from foolscope.data import ImageSet, load_data
from foolscope.errors import FoolscopeError
from foolscope.explain.fourier import fourier_basis
from foolscope.explain.frequencies import HalfPlane, axis
from foolscope.images import to_uint8
from foolscope.models import load_model
from foolscope.models.engine import Engine
from foolscope.randomness import generator

NORM = 4.0
WHOLE = 31 * 31 * 1000
"""Frequencies times images of the heat map that the target speaks of."""

SAME, KINKED = 1e-5, 0.99
"""Gradients are the same up to `SAME` for this share of the images: at the others a unit lies so near to a kink of the
network that rounding decides which side it is on (float64 finds others)."""


def cifar(count: int) -> ImageSet:
    """Images of CIFAR-10, or noise with the network's own labels where they are not at hand."""
    try:
        return load_data("cifar10", split="test", limit=count, offline=True)
    except FoolscopeError as error:
        print(f"noise instead of cifar10 ({error})", file=sys.stderr)
        images = torch.rand(count, 3, 32, 32, generator=generator(0))
        labels = Engine(load_model("cifar-cnn")).predict(images)
        return ImageSet(
            name="noise", split="test", pixels=to_uint8(images), labels=labels, num_classes=10, digest="0" * 64,
            total=count,
        )  # fmt: skip


def plain_gradients(model: nn.Module, images: Tensor, labels: Tensor, chunk: int) -> Tensor:
    """dS_c / dI by one forward and one backward pass through the user's module, chunk by chunk."""
    found = []
    for begin in range(0, len(images), chunk):
        x = images[begin : begin + chunk].clone().requires_grad_()
        score = model(x).gather(1, labels[begin : begin + chunk, None]).sum()
        found.append(torch.autograd.grad(score, x)[0])
    return torch.cat(found)


def direct_errors(engine: Engine, data: ImageSet, reach: int) -> Tensor:
    """Errors under a wave of every frequency of the plane, mirrored ones too, with one sign."""
    images, cycles = data.images, axis(32, reach=reach)
    errors = torch.zeros(len(cycles), len(cycles), dtype=torch.int64)
    for row, vertical in enumerate(cycles):
        for column, horizontal in enumerate(cycles):
            half = HalfPlane.of(32, 32, vertical[None], horizontal[None])
            waved = images + NORM * fourier_basis(half, 0)
            errors[row, column] = (engine.predict(waved) != data.labels).sum()
    return errors


def gradients(data: ImageSet, rounds: int) -> list[list[str]]:
    """Saliency and the Jacobian's transfer function of `cifar-cnn`, beside the plain pass."""
    model, images, labels = load_model("cifar-cnn"), data.images, data.labels
    engine = Engine(model)
    found: dict[str, Tensor] = {}
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    jobs: dict[str, Job] = {
        "plain pass in chunks of 128": lambda: found.update(plain=plain_gradients(model, images, labels, 128)),
        "saliency": lambda: found.update(saliency=explain.saliency(engine, images, labels)),
        "Jacobian's transfer function": lambda: explain.jacobian_transfer_function(engine, images, labels),
    }
    seconds = interleaved(jobs, rounds)
    error = (found["plain"] - found["saliency"]).flatten(1).abs().amax(1) / found["plain"].abs().max()
    if float(error.quantile(KINKED)) > SAME:
        raise SystemExit(f"saliency differs from the plain pass by {float(error.max()):.3g} of the largest value.")
    plain = seconds["plain pass in chunks of 128"]
    what = f"cifar-cnn, {len(images)} images"
    return [
        [name, what, f"{statistics.median(values):.2f}", f"{median_ratio(values, plain):.2f} of the plain pass"]
        for name, values in seconds.items()
    ]


def beside_captum(data: ImageSet, rounds: int) -> list[list[str]]:
    """The methods that Captum has too, each in chunks of at most 128; none where it is not installed."""
    try:
        from captum import attr
    except ImportError as error:
        print(f"without Captum ({error})", file=sys.stderr)
        return []
    model, images, labels = load_model("cifar-cnn"), data.images, data.labels
    engine, layer = Engine(model), explain.grad_cam_layer(model, images[:1])

    def chunked(run: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        return torch.cat([run(x, y) for x, y in zip(torch.split(images, 128), torch.split(labels, 128), strict=True)])

    plain, cam = attr.Saliency(model), attr.LayerGradCam(model, model.get_submodule(layer))
    smooth, integrated = attr.NoiseTunnel(plain), attr.IntegratedGradients(model)
    theirs: dict[str, Callable[[], Tensor]] = {
        "saliency": lambda: chunked(lambda x, y: plain.attribute(x, target=y, abs=False)),
        "SmoothGrad, 25 samples": lambda: chunked(
            lambda x, y: smooth.attribute(x, target=y, nt_samples=25, nt_samples_batch_size=1, stdevs=0.15, abs=False)
        ),
        "integrated gradients, 32 steps": lambda: integrated.attribute(
            images, torch.zeros_like(images), labels, n_steps=32, internal_batch_size=128
        ),
        "Grad-CAM": lambda: chunked(lambda x, y: cam.attribute(x, y, relu_attributions=True)[:, 0]),
    }
    ours: dict[str, Callable[[], Tensor]] = {
        "saliency": lambda: explain.saliency(engine, images, labels),
        "SmoothGrad, 25 samples": lambda: explain.smooth_grad(engine, images, labels, samples=25),
        "integrated gradients, 32 steps": lambda: explain.integrated_gradients(engine, images, labels, steps=32),
        "Grad-CAM": lambda: explain.class_activation(engine, images, labels, layer).values,
    }
    rows = []
    for name, run in ours.items():
        found: dict[str, Tensor] = {}
        jobs: dict[str, Job] = {
            "ours": lambda run=run, found=found: found.update(ours=run()),  # type: ignore[misc]
            "theirs": lambda run=theirs[name], found=found: found.update(theirs=run().detach()),  # type: ignore[misc]
        }
        seconds = interleaved(jobs, rounds)
        apart = (found["ours"] - found["theirs"]).flatten(1).abs().amax(1) / found["theirs"].abs().max()
        told = f"{median_ratio(seconds['theirs'], seconds['ours']):.1f} times as fast as Captum"
        if "Smooth" not in name:  # whose noise is another
            told += f", {float(apart.median()):.0e} apart"
        rows.append([name, f"cifar-cnn, {len(images)} images", f"{statistics.median(seconds['ours']):.2f}", told])
    return rows


def first_layers(rounds: int) -> list[list[str]]:
    """Probing every frequency of the first layers, beside the closed form."""
    rows = []
    for name, layer in (("lenet", "network.features.0"), ("resnet20", "network.conv1")):
        engine = Engine(load_model(name))
        probed = explain.transfer_function(engine, layer)
        closed = explain.kernel_transfer_function(engine, layer)
        error = float((probed.channels - closed.channels).abs().max() / closed.channels.max())
        jobs: dict[str, Job] = {
            "transfer function, probed": lambda e=engine, n=layer: explain.transfer_function(e, n),  # type: ignore[misc]
            "transfer function, closed form": lambda e=engine, n=layer: explain.kernel_transfer_function(e, n),  # type: ignore[misc]
        }
        for job, values in interleaved(jobs, rounds).items():
            apart = f"{error:.1g} apart"
            rows.append([job, f"{name}, first layer, all frequencies", f"{statistics.median(values):.3f}", apart])
    return rows


def heat_map(data: ImageSet, reach: int, rounds: int) -> list[list[str]]:
    """The heat map of `cifar-cnn` on half of the plane, and the direct method on all of it."""
    engine = Engine(load_model("cifar-cnn"))
    jobs: dict[str, Job] = {
        "direct method": lambda: direct_errors(engine, data, reach),
        "Fourier heat map": lambda: explain.fourier_heatmap(engine, data, NORM, reach=reach),
    }
    seconds = interleaved(jobs, rounds)
    side = 2 * reach + 1
    whole = WHOLE / (side * side * len(data))
    return [
        [
            name,
            f"cifar-cnn, {side} x {side} frequencies, {len(data)} images",
            f"{statistics.median(values):.2f}",
            f"{median_ratio(values, seconds['direct method']):.2f} of the direct method; "
            f"{whole * statistics.median(values):.0f} s for 31 x 31 and 1,000 images",
        ]
        for name, values in seconds.items()
    ]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="counted repetitions of everything")
    parser.add_argument("--images", type=int, default=1000, help="images for saliency and the Jacobian")
    parser.add_argument("--captum", type=int, default=200, help="images for the methods that Captum has too")
    parser.add_argument("--heat-images", type=int, default=200, help="images for the heat map")
    parser.add_argument("--reach", type=int, default=2, help="frequencies of the heat map: 15 is all")
    chosen = parser.parse_args()
    data = cifar(chosen.images)
    rows = gradients(data, chosen.rounds) + beside_captum(data.rows(slice(0, chosen.captum)), chosen.rounds)
    rows += first_layers(chosen.rounds)
    rows += heat_map(data.rows(slice(0, chosen.heat_images)), chosen.reach, chosen.rounds)
    print(f"{machine()}; medians of {chosen.rounds} interleaved rounds.\n")
    print(markdown(["what", "of", "s", "compared"], rows))


if __name__ == "__main__":
    main()
