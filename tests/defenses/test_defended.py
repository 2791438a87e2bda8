"""Defenses: specs, how gradients pass, and a defended classifier in the engine's hands."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, fx, nn

from foolscope import jpeg
from foolscope.defenses import DEFENSES, JPEG, Defense, Transform, defended, parse_defense
from foolscope.errors import FoolscopeError, InputError, ParameterError, SpecError
from foolscope.models.classifier import Classifier, describe
from foolscope.models.engine import Engine, fold_batchnorm, inference_copy


@dataclass(frozen=True, kw_only=True)
class Square(Transform):
    """x to x^2: a transform that autograd can differentiate."""

    name: ClassVar[str] = "square"
    gradient: str = "differentiable"

    def apply(self, images: Tensor) -> Tensor:
        """The squares."""
        return images.square()


class Fixed(nn.Module):
    """A defense of a user's own: answers with what it was given."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: Tensor) -> Tensor:
        return self.answer


@pytest.fixture
def images() -> Tensor:
    return torch.rand(7, 3, 17, 18, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 15 * 16, 5)]
        built = nn.Sequential(*layers)
        built(torch.rand(16, 3, 17, 18))  # statistics that are not 0 and 1
    return built.eval()


@pytest.fixture
def model(network: nn.Sequential) -> Classifier:
    return Classifier(
        network,
        name="small",
        input_shape=(3, 17, 18),
        num_classes=5,
        class_names=("a", "b", "c", "d", "e"),
        weights="mine",
        trained_on="nothing",
    )


def input_gradient(model: nn.Module, images: Tensor) -> Tensor:
    x = images.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).logsumexp(1).sum(), x)
    return gradient


@pytest.mark.parametrize(
    ("text", "name", "gradient", "spec"),
    [
        ("jpeg", "jpeg", "straight-through", "jpeg"),
        ("jpeg:quality=50,subsampling=444", "jpeg", "straight-through", "jpeg:quality=50,subsampling=444"),
        ("jpeg:gradient=none", "jpeg", "none", "jpeg:gradient=none"),
        ("jpeg:quality=9|jpeg", "jpeg|jpeg", "straight-through", "jpeg:quality=9|jpeg"),
        ("jpeg|jpeg:gradient=none,quality=75", "jpeg|jpeg", "none", "jpeg|jpeg:gradient=none"),
    ],
)
def test_specs(text: str, name: str, gradient: str, spec: str) -> None:
    defense = parse_defense(text)
    assert (defense.name, defense.gradient, defense.spec()) == (name, gradient, spec)
    assert parse_defense(defense.spec()).transforms == defense.transforms
    assert repr(defense) == f"Defense({spec})"


THROUGH, SMOOTH = "straight-through", "differentiable"


@pytest.mark.parametrize(
    ("text", "variants"),
    [
        ("jpeg:quality=50", {THROUGH: "jpeg:quality=50", SMOOTH: "jpeg:quality=50,gradient=differentiable"}),
        ("jpeg:gradient=differentiable", {THROUGH: "jpeg", SMOOTH: "jpeg:gradient=differentiable"}),
        ("random-jpeg", {THROUGH: "random-jpeg:gradient=straight-through", SMOOTH: "random-jpeg"}),
        ("bits", {THROUGH: "bits"}),  # no smooth stand-in
        ("gaussian", {SMOOTH: "gaussian"}),  # needs none
        ("gaussian:gradient=straight-through", {SMOOTH: "gaussian"}),
        ("gaussian|median", {THROUGH: "gaussian|median"}),
        ("gaussian|jpeg", {THROUGH: "gaussian|jpeg", SMOOTH: "gaussian|jpeg:gradient=differentiable"}),
        ("jpeg|bits", {THROUGH: "jpeg|bits", SMOOTH: "jpeg:gradient=differentiable|bits"}),
        ("jpeg|bits:gradient=none", {}),
    ],
)
def test_variants_have_each_gradient_that_is_worth_following(text: str, variants: dict[str, str]) -> None:
    assert {name: variant.spec() for name, variant in parse_defense(text).variants().items()} == variants


def test_variants_give_the_same_pixels(images: Tensor) -> None:
    defense = parse_defense("jpeg:quality=20|gaussian|bits:depth=3")
    (through, smooth) = defense.variants().values()
    assert torch.equal(through(images), defense(images))
    assert torch.equal(smooth(images), defense(images))


def test_a_transform_without_a_choice_of_gradients_is_followed_as_it_is() -> None:
    squared = Square()
    assert squared.passing("straight-through") is squared


def test_a_chain_applies_from_left_to_right(images: Tensor) -> None:
    both = parse_defense("jpeg:quality=20,subsampling=444|jpeg:quality=80")
    first = jpeg.compress(images, 20, "444")
    assert torch.equal(both(images), jpeg.compress(first, 80, "420"))
    assert not torch.equal(both(images), jpeg.compress(jpeg.compress(images, 80, "420"), 20, "444"))


def test_every_registered_defense_keeps_the_contract(images: Tensor) -> None:
    for name, kind in DEFENSES.items():
        defense = parse_defense(name)
        assert defense.transforms == (kind(),)
        out = defense(images)
        assert out.shape == images.shape
        assert 0 <= float(out.min()) <= float(out.max()) <= 1
        assert not torch.equal(out, images)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("jpg", SpecError, "unknown defense 'jpg'. Did you mean jpeg? 'foolscope defenses' lists all."),
        (
            "jpeg:qualty=5",
            SpecError,
            "jpeg has no parameter 'qualty'. Did you mean quality? 'foolscope defenses jpeg' lists all.",
        ),
        ("jpeg:quality=0", ParameterError, "jpeg: quality must be between 1 and 100, got 0."),
        ("jpeg:quality=101", ParameterError, "jpeg: quality must be between 1 and 100, got 101."),
        ("jpeg:quality=7.5", SpecError, "jpeg: quality: '7.5' is not a whole number."),
        ("jpeg:subsampling=411", ParameterError, "jpeg: subsampling must be one of 444, 422, 420, got '411'."),
        (
            "jpeg:gradient=exact",
            ParameterError,
            "jpeg: gradient must be one of straight-through, differentiable, none, got 'exact'.",
        ),
        ("jpeg||jpeg", SpecError, "malformed spec '': expected NAME or NAME:KEY=VALUE,KEY=VALUE."),
    ],
)
def test_bad_specs(text: str, error: type[FoolscopeError], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        parse_defense(text)


def test_a_defense_of_nothing_is_refused() -> None:
    message = "a defense needs at least one transform, such as JPEG(quality=75)."
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        Defense()


def test_forward_is_the_real_codec(model: Classifier, images: Tensor) -> None:
    behind = defended(model, "jpeg:quality=50")
    assert torch.equal(behind(images), model(jpeg.compress(images, 50)))
    assert not torch.equal(behind(images), model(images))


def test_straight_through_is_the_networks_gradient_at_the_compressed_images(model: Classifier, images: Tensor) -> None:
    got = input_gradient(defended(model, JPEG(quality=50)), images)
    assert torch.equal(got, input_gradient(model, jpeg.compress(images, 50)))
    assert not torch.equal(got, input_gradient(model, images))


def test_none_passes_no_gradient(model: Classifier, images: Tensor) -> None:
    behind = defended(model, "jpeg:gradient=none")
    x = images.requires_grad_()
    (gradient,) = torch.autograd.grad(behind(x).sum(), x, allow_unused=True)
    assert gradient is None
    assert not behind.differentiable
    with pytest.raises(InputError, match=r"^small gives no gradients: attack it as a black box\.$"):
        Engine(behind).gradients(images, lambda logits, rows: logits[:, 0])
    assert torch.equal(Engine(behind).predict(images), behind(images).argmax(1))


def test_a_differentiable_transform_is_differentiated(model: Classifier, images: Tensor) -> None:
    got = input_gradient(defended(model, Square()), images)
    torch.testing.assert_close(got, 2 * images * input_gradient(model, images.square()))
    mixed = Defense(JPEG(quality=50), Square())
    assert (mixed.name, mixed.gradient) == ("jpeg|square", "straight-through")
    after = jpeg.compress(images, 50)
    want = 2 * after * input_gradient(model, after.square())
    torch.testing.assert_close(input_gradient(defended(model, mixed), images), want)
    assert Defense(Square()).gradient == "differentiable"
    assert defended(model, Square()).differentiable


@pytest.mark.parametrize("gradient", ["straight-through", "none"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dtype_and_memory_format_come_back(images: Tensor, dtype: torch.dtype, gradient: str) -> None:
    given = images.to(dtype, memory_format=torch.channels_last)
    out = Defense(JPEG(quality=50, gradient=gradient))(given)
    assert out.dtype == dtype
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(out, jpeg.compress(given.float(), 50).to(dtype))


def test_the_classifiers_description_is_kept(model: Classifier) -> None:
    behind = defended(model, "jpeg")
    assert describe(behind) == describe(model)
    assert behind.model is model
    assert isinstance(behind.defense, Defense)
    assert behind.defense.spec() == "jpeg"
    model.differentiable = False
    assert not defended(model, "jpeg").differentiable


def test_a_plain_module_can_be_defended(network: nn.Sequential, images: Tensor) -> None:
    behind = defended(network, nn.Identity())
    assert describe(behind) == describe(network)
    assert torch.equal(behind(images), network(images))


@pytest.mark.parametrize("training", [True, False])
def test_flags_and_parameters_are_the_models(model: Classifier, training: bool) -> None:
    model.train(training)
    next(model.network.children()).train(not training)
    flags = [module.training for module in model.modules()]
    behind = defended(model, "jpeg")
    assert behind.training is training
    assert [module.training for module in model.modules()] == flags
    assert list(map(id, behind.parameters())) == list(map(id, model.parameters()))
    assert all(parameter.requires_grad for parameter in behind.parameters())
    behind.eval()
    assert not any(module.training for module in model.modules())


def test_a_copy_is_independent(model: Classifier, images: Tensor) -> None:
    behind = defended(model, "jpeg:quality=30|jpeg")
    twin = copy.deepcopy(behind)
    want = behind(images)
    assert torch.equal(twin(images), want)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(behind(images), want)


def test_the_engine_folds_the_network_behind_a_defense(model: Classifier, images: Tensor) -> None:
    behind = defended(model.eval(), "jpeg:quality=40|jpeg:subsampling=444")
    copied = inference_copy(behind)
    assert copied is not None
    folded = fold_batchnorm(copied)
    assert isinstance(folded, fx.GraphModule)
    called = {node.target for node in folded.graph.nodes if node.op == "call_module"}
    assert "model.network.0" in called
    assert "model.network.1" not in called
    torch.testing.assert_close(folded(images), behind(images))


@pytest.mark.parametrize("chunk", [1, 3, None])
def test_the_engine_gives_the_modules_gradients(model: Classifier, images: Tensor, chunk: int | None) -> None:
    behind = defended(model.eval(), "jpeg:quality=40")
    found = Engine(behind, chunk=chunk).gradients(images, lambda logits, rows: logits.logsumexp(1))
    torch.testing.assert_close(found.logits, behind(images).detach())
    torch.testing.assert_close(found.images, input_gradient(behind, images))
    double = Engine(behind, precision="float64").gradients(images, lambda logits, rows: logits.logsumexp(1))
    torch.testing.assert_close(double.images, found.images)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            torch.zeros(7, 3, 8, 9),
            "the defense Fixed turns images of shape 7 x 3 x 17 x 18 into 7 x 3 x 8 x 9; it must keep their shape.",
        ),
        (
            torch.linspace(-0.25, 2, 7 * 3 * 17 * 18).view(7, 3, 17, 18),
            "the defense Fixed must keep images in [0, 1], gave values from -0.25 to 2.",
        ),
        (
            torch.full((7, 3, 17, 18), torch.nan),
            "the defense Fixed must keep images in [0, 1], gave values from nan to nan.",
        ),
    ],
)
def test_a_defense_that_breaks_the_contract_is_refused(
    model: Classifier, images: Tensor, answer: Tensor, message: str
) -> None:
    behind = defended(model, Fixed(answer))
    for run in (behind, Engine(behind).logits):
        call: Any = run
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            call(images)


def test_images_outside_the_box_are_refused(model: Classifier, images: Tensor) -> None:
    with pytest.raises(InputError, match=r"^images must be in \[0, 1\], found values from 1 to 1\.25\.$"):
        defended(model, "jpeg")(torch.linspace(1, 1.25, images.numel()).view_as(images))


def test_no_images_give_no_logits(model: Classifier, images: Tensor) -> None:
    assert defended(model.eval(), "jpeg")(images[:0]).shape == (0, 5)


@pytest.mark.parametrize(
    ("defense", "got"), [(None, "NoneType"), (JPEG, "JPEG, a class"), (lambda images: images, "function")]
)
def test_what_is_no_defense_is_refused(model: Classifier, defense: Any, got: str) -> None:
    with pytest.raises(InputError, match=rf"^a defense is a spec, a transform or a torch\.nn\.Module, got {got}\.$"):
        defended(model, defense)


@pytest.mark.parametrize(
    ("change", "got"),
    [(lambda x: None, "NoneType"), (lambda x: x.numpy(), "ndarray"), (Tensor.double, "torch.float64")],
)
def test_a_defense_gives_images_of_the_same_type(
    model: Classifier, images: Tensor, change: Callable[[Tensor], Any], got: str
) -> None:
    class Other(nn.Module):
        def forward(self, images: Tensor) -> Any:
            return change(images)

    with pytest.raises(InputError, match=rf"^the defense Other must give a tensor of torch\.float32, gave {got}\.$"):
        defended(model, Other())(images)


def test_a_function_has_defenses_too_and_a_spec_is_no_model(images: Tensor) -> None:
    assert defended(lambda x: x.flatten(1)[:, :3], "jpeg")(images).shape == (len(images), 3)
    with pytest.raises(InputError, match=r"fs\.load_model reads a spec"):
        defended("lenet", "jpeg")  # type: ignore[arg-type]
