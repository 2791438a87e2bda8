"""Transfer functions: probing, closed form and Jacobian agree, and both with responses worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from foolscope.defenses import defended
from foolscope.errors import Cancelled, InputError, ParameterError, SpecError
from foolscope.explain.frequencies import HalfPlane, axis, sinusoids
from foolscope.explain.saliency import saliency
from foolscope.explain.transfer import (
    Direction,
    jacobian_transfer_function,
    kernel_transfer_function,
    transfer_function,
)
from foolscope.models import Classifier, load_model
from foolscope.models.classifier import Normalize
from foolscope.models.engine import Engine
from tests.explain.networks import linear, random, small

SHAPE = (3, 12, 10)


def box(layer: nn.Module, shape: tuple[int, int, int] = SHAPE, preprocess: tuple[nn.Module, ...] = ()) -> Classifier:
    """A classifier whose first layer, `network.0`, is `layer`."""
    network = nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(2))
    model = Classifier(network, name="box", input_shape=shape, num_classes=2, preprocess=preprocess).eval()
    model(torch.zeros(1, *shape))
    return model


def convolution(weight: Tensor, *, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1) -> nn.Conv2d:
    outputs, inputs, height, width = weight.shape
    layer = nn.Conv2d(inputs * groups, outputs, (height, width), stride, padding, dilation, groups)
    layer.weight.data = weight
    return layer


def test_a_difference_has_the_response_of_a_difference() -> None:
    """Kernel (-1, 1) along x: |exp(2 pi i f) - 1| = 2 |sin(pi f)|, whatever the vertical frequency."""
    model = box(convolution(torch.tensor([[[[-1.0, 1.0]]]])), (1, 8, 8))
    expected = 2 * torch.sin(math.pi * axis(8).double() / 8).abs().expand(8, 8)
    for found in (transfer_function(model, "network.0"), kernel_transfer_function(model, "network.0")):
        torch.testing.assert_close(found.channels[0], expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.response, found.channels[0])
        assert float(found.channels.square().sum()) == pytest.approx(8 * 8 * 2, rel=1e-5)  # Parseval
        assert found.horizontal.tolist() == [k / 8 for k in range(-4, 4)]


LAYERS: dict[str, nn.Module] = {
    "padded": convolution(random(4, 3, 3, 3) - 0.5, padding=1),
    "even and oblong": convolution(random(2, 3, 2, 4) - 0.5),
    "strided": convolution(random(4, 3, 3, 3) - 0.5, stride=2, padding=1),
    "dilated": convolution(random(4, 3, 3, 3) - 0.5, dilation=2, padding=2),
    "in groups": convolution(random(6, 1, 3, 3) - 0.5, groups=3, padding=1),
}


@pytest.mark.parametrize("direction", ["gray", "red", "blue", (0.5, -2.0, 1.0)])
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_probing_agrees_with_the_closed_form(layer: nn.Module, direction: Direction) -> None:
    model = box(layer, preprocess=(Normalize([0.4, 0.5, 0.6], [0.2, 0.3, 0.25]),))
    probed = transfer_function(model, "network.0", direction=direction)
    closed = kernel_transfer_function(model, "network.0", direction=direction)
    limit = 1e-4 * float(closed.channels.max())
    torch.testing.assert_close(probed.channels, closed.channels, atol=limit, rtol=0)
    torch.testing.assert_close(probed.radial.mean, closed.radial.mean, atol=limit, rtol=0)
    assert probed.distortion is not None
    assert float(probed.distortion.max()) < 1e-4


@pytest.mark.parametrize(("name", "layer"), [("lenet", "network.features.0"), ("resnet20", "network.conv1")])
def test_first_layers_of_our_networks(name: str, layer: str) -> None:
    model = load_model(name)
    probed, closed = transfer_function(model, layer), kernel_transfer_function(model, layer)
    torch.testing.assert_close(probed.channels, closed.channels, atol=1e-4 * float(closed.channels.max()), rtol=0)
    assert probed.response.shape == ((28, 28) if name == "lenet" else (32, 32))


def test_all_three_agree_on_a_linear_network() -> None:
    """The Jacobian's unit is a wave of l2 norm 1: times sqrt(H W) it is that of amplitude 1."""
    model, weight = linear((3, 6, 5))
    model = Classifier(model, name="linear", input_shape=(3, 6, 5), num_classes=4).eval()
    probed = transfer_function(model)
    closed = kernel_transfer_function(model, "network.1")
    torch.testing.assert_close(probed.channels, closed.channels, atol=2e-3, rtol=1e-4)
    for label in range(4):
        labels = torch.full((3,), label)
        found = jacobian_transfer_function(model, random(3, 3, 6, 5), labels, direction="gray")
        torch.testing.assert_close(found.response * math.sqrt(30), closed.channels[label], atol=1e-5, rtol=1e-5)
        every = jacobian_transfer_function(model, random(3, 3, 6, 5), labels)
        assert float(every.response.square().sum()) == pytest.approx(weight[label].square().sum().item())  # Parseval


def test_the_jacobian_is_a_mean_over_images_with_intervals() -> None:
    model, images, labels = small(), random(5, 3, 12, 12), torch.tensor([0, 1, 2, 3, 0])
    found = jacobian_transfer_function(Engine(model, chunk=1), images, labels)
    alone = [jacobian_transfer_function(model, images[i : i + 1], labels[i : i + 1]) for i in range(5)]
    torch.testing.assert_close(found.response, torch.stack([one.response for one in alone]).mean(0), rtol=1e-4, atol=0)
    torch.testing.assert_close(
        found.radial.mean, torch.stack([one.radial.mean for one in alone]).mean(0), rtol=1e-4, atol=0
    )
    assert (found.radial.low < found.radial.mean).all()
    assert found.samples == found.radial.samples == 5
    assert found.layer is None
    slopes = saliency(model, images, labels).square().flatten(1).sum(1)
    for one, slope in zip(alone, slopes.tolist(), strict=True):
        assert float(one.response.square().sum()) == pytest.approx(slope, rel=1e-5)  # Parseval


class Square(nn.Module):
    """x + k (x - 1/2)^2 per pixel: first harmonic 1, and a second harmonic of amplitude k a / 2 beside it."""

    def __init__(self, k: float) -> None:
        super().__init__()
        self.k = k

    def forward(self, images: Tensor) -> Tensor:
        return images + self.k * (images - 0.5) ** 2


def test_a_nonlinear_layer_has_gain_and_distortion() -> None:
    """cos^2 = 1/2 + cos(2 angle) / 2: energies a^2 / 2 in the first and (k a^2 / 2)^2 / 2 in the second harmonic."""
    amplitude, k = 0.4, 3.0
    found = transfer_function(box(Square(k)), "network.0", amplitude=amplitude)
    torch.testing.assert_close(found.response, torch.ones(12, 10, dtype=torch.float64), atol=1e-4, rtol=0)
    second = (k * amplitude**2 / 2) ** 2
    assert found.distortion is not None
    expected = torch.full((12, 10), second / (amplitude**2 + second), dtype=torch.float64)
    torch.testing.assert_close(found.distortion, expected, atol=1e-4, rtol=0)


def test_a_layer_that_ignores_the_image_has_no_response() -> None:
    found = transfer_function(box(convolution(torch.zeros(2, 3, 1, 1))), "network.0")
    assert float(found.response.max()) == 0
    assert found.distortion is not None
    assert float(found.distortion.max()) == 0


def test_tokens_count_as_positions() -> None:
    model = box(nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 4, 1)))
    assert transfer_function(model, "network.0").channels.shape == (120, 12, 10)


def test_a_defense_in_front_and_the_defense_itself() -> None:
    model = load_model("lenet")
    behind = defended(model, "jpeg:quality=100")
    first = transfer_function(behind, "model.network.features.0", resolution=7)
    alone = transfer_function(model, "network.features.0", resolution=7)
    torch.testing.assert_close(first.response, alone.response, rtol=0.05, atol=0.05 * float(alone.response.max()))
    fine, coarse = (
        transfer_function(defended(model, f"jpeg:quality={quality}"), "defense", resolution=14) for quality in (100, 10)
    )
    assert fine.response.min() > 0.95
    assert fine.distortion is not None
    assert coarse.distortion is not None
    assert float(fine.distortion.max()) < 0.01
    middle = (coarse.radial.coordinate > 0.3) & (coarse.radial.coordinate <= 0.5)
    assert float(coarse.radial.mean[middle].mean()) < 0.5 < 0.9 < float(coarse.radial.mean[:3].mean())
    assert float(coarse.distortion.mean()) > 0.02


def test_a_network_of_any_size_and_a_coarse_grid() -> None:
    model = small()
    found = transfer_function(model, "0.0", size=(20, 16), resolution=8)
    whole = transfer_function(model, "0.0", size=(20, 16))
    assert found.response.shape == (8, 8)
    rows = [whole.vertical.tolist().index(v) for v in found.vertical.tolist()]
    columns = [whole.horizontal.tolist().index(v) for v in found.horizontal.tolist()]
    torch.testing.assert_close(found.response, whole.response[rows][:, columns], rtol=1e-4, atol=1e-5)
    assert float(found.vertical[4]) == 0
    assert transfer_function(model, "0.0", size=(40, 12)).response.shape == (32, 12)


def test_progress_and_cancelling() -> None:
    seen: list[tuple[int, int]] = []

    def watch(done: int, total: int) -> None:
        seen.append((done, total))
        if len(seen) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        transfer_function(load_model("lenet"), watch=watch)
    assert seen == [(16, 394), (32, 394)]  # 128 images at a time, at 8 phases


def test_half_of_the_plane_is_worked_on() -> None:
    half = HalfPlane.of(12, 10, axis(12), axis(10))
    assert len(half) == (12 * 10 + 4) // 2  # four frequencies are their own mirror image
    angles = half.angles(slice(None))
    for row, v in enumerate(axis(12).tolist()):
        for column, h in enumerate(axis(10).tolist()):
            wave = sinusoids(12, 10, torch.tensor([[v / 12, h / 10]]), torch.zeros(1))[0, 0]
            torch.testing.assert_close(angles[half.place[row, column]].cos().float(), wave, atol=1e-5, rtol=0)


def test_sinusoids() -> None:
    found = sinusoids(2, 3, torch.tensor([[0.5, 0.25]]), torch.tensor([0.0, math.pi / 2]))
    assert found.shape == (1, 2, 2, 3)
    torch.testing.assert_close(found[0, 0], torch.tensor([[1.0, 0, -1], [-1, 0, 1]]), atol=1e-6, rtol=0)
    torch.testing.assert_close(found[0, 1], torch.tensor([[0.0, -1, 0], [0, 1, 0]]), atol=1e-6, rtol=0)
    with pytest.raises(
        ParameterError,
        match=r"^frequencies must be between -0\.5 and 0\.5 cycles per pixel \(Nyquist\), "
        r"got 0\.6: it would be seen as a lower one\.$",
    ):
        sinusoids(4, 4, torch.tensor([[0.1, -0.6]]), torch.zeros(1))
    with pytest.raises(
        ParameterError,
        match=r"^frequencies must have shape \(F, 2\): vertical and horizontal, got "
        r"\(2,\)\.$",
    ):
        sinusoids(4, 4, torch.tensor([0.1, 0.2]), torch.zeros(1))


def test_axes() -> None:
    assert axis(6).tolist() == [-3, -2, -1, 0, 1, 2]
    assert axis(5).tolist() == [-2, -1, 0, 1, 2]
    assert axis(12, resolution=4).tolist() == [-6, -3, 0, 3]
    assert axis(32, reach=2).tolist() == [-2, -1, 0, 1, 2]
    with pytest.raises(ParameterError, match=r"^resolution must be between 1 and 6, the image's side, got 7\.$"):
        axis(6, resolution=7)
    with pytest.raises(
        ParameterError,
        match=r"^reach must be between 0 and 2 cycles a side for images of 6 pixels, got "
        r"3: more is above the Nyquist frequency, 0\.5 cycles per pixel\.$",
    ):
        axis(6, reach=3)


def test_bad_input() -> None:
    model, gray = box(nn.Conv2d(3, 2, 3)), load_model("lenet")
    closed = "transfer_function probes any layer"
    cases: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: transfer_function(model, "network.o"), SpecError,
         "box has no layer 'network.o'. Did you mean network.2, network.1, network.0? fs.explain.layer_names(model) "
         "lists all."),
        (lambda: transfer_function(small(), "0.0"), ParameterError,
         "Sequential does not say which size its images have: give size=, such as size=224."),
        (lambda: transfer_function(linear()[0]), ParameterError,
         "Sequential does not say whether it takes gray or color images: wrap it in Classifier."),
        (lambda: transfer_function(small(), size=0), ParameterError, "size must be at least 1 pixel, got 0 x 0."),
        (lambda: transfer_function(model, amplitude=0.6), ParameterError,
         "waves of amplitude 0.6 around 0.5 leave [0, 1]: amplitude must be above 0 and at most mean and 1 - mean."),
        (lambda: transfer_function(model, phases=2), ParameterError,
         "phases must be at least 3 to tell a wave from its mean, got 2."),
        (lambda: transfer_function(model, direction="grey"), ParameterError,
         "direction must be one of gray, red, green, blue or a number a channel, got 'grey'. Did you mean gray, green, "
         "red?"),
        (lambda: transfer_function(gray, direction="red"), ParameterError,
         "a gray image has no red: direction must be gray."),
        (lambda: transfer_function(model, direction=(0.0, 0.0, 0.0)), ParameterError,
         "direction must be 3 finite numbers, not all 0, for 3 channels, got (0.0, 0.0, 0.0)."),
        (lambda: kernel_transfer_function(model, "network.1"), InputError,
         f"layer 'network.1' is a Flatten: the closed form is that of Conv2d and Linear; {closed}."),
        (lambda: kernel_transfer_function(gray, "network.features.3"), InputError,
         f"layer 'network.features.3' of lenet does not see the image itself, so that it has no closed form for it; "
         f"{closed}."),
        (lambda: kernel_transfer_function(box(nn.Linear(8, 4), (1, 6, 8)), "network.0"), InputError,
         f"layer 'network.0' of box does not see the image itself, so that it has no closed form for it; {closed}."),
        (lambda: jacobian_transfer_function(model, torch.zeros(0, *SHAPE), torch.zeros(0).long()), InputError,
         "the Jacobian's transfer function needs at least one image."),
    ]  # fmt: skip
    for call, error, message in cases:
        with pytest.raises(error) as caught:
            call()
        assert str(caught.value) == message


def test_a_black_box_is_probed_and_has_no_jacobian() -> None:
    model = box(nn.Conv2d(3, 2, 3))
    expected = transfer_function(model, resolution=4).response
    model.differentiable = False
    torch.testing.assert_close(transfer_function(model, resolution=4).response, expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match=r"^the Jacobian's transfer function needs gradients and box gives none: "):
        jacobian_transfer_function(model, random(1, *SHAPE), torch.zeros(1).long())
