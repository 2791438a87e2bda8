"""The engine against plain autograd on every kind of network, and how it runs each of them."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from foolscope.errors import InputError, ParameterError
from foolscope.models.cifar_cnn import CifarCNN
from foolscope.models.classifier import Classifier
from foolscope.models.engine import Engine, Precision, chunk_size, fold_batchnorm, inference_copy
from foolscope.models.resnet import ResNet20
from foolscope.randomness import generator

SHAPE = (3, 16, 12)


class Residual(nn.Module):
    """Two convolutions with BatchNorm and a shortcut; the second BatchNorm follows a sum and cannot be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        logits: Tensor = self.head(F.relu(self.bn2(self.conv2(x) + x)).mean((2, 3)))
        return logits


class Branching(nn.Module):
    """Looks at its images' values, so that it cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(840, 5))

    def forward(self, x: Tensor) -> Tensor:
        if x.mean() > 2:
            x = x / 2
        logits: Tensor = self.body(x)
        return logits


class TwiceUsed(nn.Module):
    """One convolution under two BatchNorms: folding one of them changes what the other gets."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn1, self.bn2 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv(x)))
        logits: Tensor = self.head(self.bn2(self.conv(x)).mean((2, 3)))
        return logits


class Uncopyable(nn.Module):
    """Holds a tensor with a history, which deepcopy refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6, 5)
        self.kept = self.head.weight * 2

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.conv(x).relu().mean((2, 3)))
        return logits


class Random(nn.Module):
    """Dropout that also works in evaluation mode, behind a BatchNorm that could be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.randn(6, 1, 1)  # a constant in a traced network
        x = F.dropout(self.bn(self.conv(x)) + noise, 0.5, training=True)
        logits: Tensor = self.head(x.relu().mean((2, 3)))
        return logits


def settled(model: nn.Module) -> nn.Module:
    """In evaluation mode, with BatchNorm statistics and weights that are not 0 and 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d) and module.affine:
                nn.init.normal_(module.weight, 1, 0.3)
                nn.init.normal_(module.bias, 0, 0.3)
        model.train()
        model(torch.rand(32, *SHAPE) * 2)
    return model.eval()


def plain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, 2), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 5)
    )


def batchnorm(**options: Any) -> nn.Module:
    layers = [nn.Conv2d(3, 6, 5, 2), nn.BatchNorm2d(6, **options), nn.ReLU(), nn.Conv2d(6, 8, 3, bias=False)]
    return nn.Sequential(*layers, nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 5))


def normal_first() -> nn.Module:
    return nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 6, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 24, 5))


def first(model: nn.Module) -> nn.Module:
    return next(model.children())


def hooked() -> nn.Module:
    model = batchnorm()
    first(model).register_forward_hook(lambda module, inputs, output: 2 * output)
    return model


FOLDED = {"batchnorm": batchnorm, "without affine": lambda: batchnorm(affine=False), "residual": Residual}
UNFOLDED = {
    "plain": plain,
    "batchnorm first": normal_first,
    "without statistics": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 5, 2), nn.BatchNorm2d(6, track_running_stats=False), nn.Flatten(), nn.Linear(144, 5)
    ),
    "branching": Branching,
    "used twice": TwiceUsed,
}
AS_IT_IS: dict[str, Callable[[], nn.Module]] = {"hooked": hooked, "cannot be copied": Uncopyable}
NETWORKS: dict[str, Callable[[], nn.Module]] = {**FOLDED, **UNFOLDED, **AS_IT_IS}

each_network = pytest.mark.parametrize("kind", NETWORKS)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(11, *SHAPE, generator=generator(5))


@pytest.fixture
def labels() -> Tensor:
    return torch.arange(11) % 5


def made(kind: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return settled(NETWORKS[kind]())


def objective(labels: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda logits, rows: F.cross_entropy(logits, labels[rows], reduction="none")


def autograd(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x = images.clone().requires_grad_()
    logits = model(x)
    losses = F.cross_entropy(logits, labels, reduction="none")
    (gradient,) = torch.autograd.grad(losses.sum(), x)
    return logits.detach(), losses.detach(), gradient


def running(engine: Engine, images: Tensor) -> nn.Module:
    """The module that the engine runs for logits."""
    engine.logits(images)
    return engine._networks[torch.float32].module


# --- results ----------------------------------------------------------------------------------------------------------


@each_network
@pytest.mark.parametrize("chunk", [None, 1, 4])
def test_logits_and_gradients_are_autograds(kind: str, chunk: int | None, images: Tensor, labels: Tensor) -> None:
    if kind == "without statistics":
        chunk = None  # such a BatchNorm mixes the images of a pass
    model = made(kind)
    logits, losses, gradient = autograd(model, images, labels)
    engine = Engine(model, chunk=chunk)
    found = engine.gradients(images, objective(labels))
    for have, want in [
        (engine.logits(images), logits),
        (found.logits, logits),
        (found.losses, losses),
        (found.images, gradient),
    ]:
        assert have.dtype == torch.float32
        assert not have.requires_grad
        torch.testing.assert_close(have, want, atol=1e-5, rtol=1e-5)
    assert torch.equal(engine.predict(images), logits.argmax(1))
    assert engine.num_classes(images) == 5


@pytest.mark.parametrize("kind", FOLDED)
def test_batchnorm_is_folded(kind: str, images: Tensor) -> None:
    model = made(kind)
    network = running(Engine(model), images)
    assert isinstance(network, fx.GraphModule)
    called = [network.get_submodule(str(node.target)) for node in network.graph.nodes if node.op == "call_module"]
    left = sum(isinstance(module, nn.BatchNorm2d) for module in called)
    assert left == (1 if kind == "residual" else 0)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == 2


class ReadTwice(nn.Module):
    """The output of its first convolution is also read by others than the BatchNorm behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        logits: Tensor = self.head(self.bn2(self.conv2(self.bn1(x) + x)).mean((2, 3)))
        return logits


def test_only_what_can_be_folded_is_folded(images: Tensor) -> None:
    """Whose convolution others read, and whose statistics are the batch's, stays; the other is folded."""
    mixed = nn.Sequential(batchnorm(track_running_stats=False), nn.Identity())
    for model in (settled(ReadTwice()), settled(mixed)):
        folded = fold_batchnorm(model)
        assert isinstance(folded, fx.GraphModule)
        targets = [str(node.target) for node in folded.graph.nodes if node.op == "call_module"]
        assert sum(isinstance(folded.get_submodule(target), nn.BatchNorm2d) for target in targets) == 1
        torch.testing.assert_close(folded(images), model(images).detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("network", "shape"), [(CifarCNN, (3, 32, 32)), (ResNet20, (3, 32, 32))])
def test_the_projects_own_networks_fold_completely(network: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    model = network().eval()
    ran = running(Engine(model), torch.rand(2, *shape, generator=generator(0)))
    assert isinstance(ran, fx.GraphModule)
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    targets = {str(node.target) for node in ran.graph.nodes if node.op == "call_module"}
    assert not any(isinstance(ran.get_submodule(target), nn.BatchNorm2d) for target in targets)


@pytest.mark.parametrize("kind", UNFOLDED)
def test_what_cannot_be_folded_is_copied(kind: str, images: Tensor) -> None:
    model = made(kind)
    network = running(Engine(model), images)
    assert network is not model
    assert type(network) is type(model)
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("kind", AS_IT_IS)
def test_what_cannot_be_copied_or_has_hooks_runs_as_it_is(kind: str, images: Tensor, labels: Tensor) -> None:
    model = made(kind).train()
    next(iter(model.parameters())).requires_grad_(False)
    flags = [parameter.requires_grad for parameter in model.parameters()]
    hooks = [dict(module._forward_hooks) for module in model.modules()]
    engine = Engine(model)
    assert running(engine, images) is model
    engine.gradients(images, objective(labels))
    assert all(module.training for module in model.modules())
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert [dict(module._forward_hooks) for module in model.modules()] == hooks
    assert all(parameter.grad is None for parameter in model.parameters())


def test_hooks_run_whenever_they_are_registered(images: Tensor, labels: Tensor) -> None:
    model, seen = made("batchnorm"), []

    def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
        seen.append(len(output))

    engine = Engine(model, chunk=4)
    before = engine.logits(images)
    assert running(engine, images) is not model
    handle = first(model).register_forward_hook(note)
    torch.testing.assert_close(engine.logits(images), before, atol=1e-5, rtol=1e-5)
    assert seen == [4, 4, 3]
    engine.gradients(images, objective(labels))
    assert len(seen) == 6
    handle.remove()
    engine.logits(images)
    assert len(seen) == 6


def test_folding_leaves_hooks_alone() -> None:
    model = made("batchnorm")
    handle = first(model).register_full_backward_pre_hook(lambda module, gradients: None)
    assert fold_batchnorm(model) is None
    handle.remove()
    assert fold_batchnorm(model) is not None


def test_a_random_network_stays_random(images: Tensor, labels: Tensor) -> None:
    model = settled(Random())
    state = torch.get_rng_state()
    engine = Engine(model)
    first, second = engine.logits(images), engine.logits(images)
    assert not torch.allclose(first, second)
    network = running(engine, images)
    assert not isinstance(network, fx.GraphModule)
    assert torch.equal(after(state, engine, images), after(state, engine, images))
    one, other = (engine.gradients(images, objective(labels)).images for _ in range(2))
    assert not torch.allclose(one, other)


def after(state: Tensor, engine: Engine, images: Tensor) -> Tensor:
    torch.set_rng_state(state)
    return engine.logits(images)


def test_preparing_a_network_draws_nothing_from_the_users_generator(images: Tensor) -> None:
    model = made("batchnorm")
    state = torch.get_rng_state()
    Engine(model).logits(images)
    assert torch.equal(torch.get_rng_state(), state)


# --- the user's module ------------------------------------------------------------------------------------------------


@each_network
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
def test_the_users_module_is_never_touched(kind: str, precision: Precision, images: Tensor, labels: Tensor) -> None:
    model = made(kind).train()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    strides = [parameter.stride() for parameter in model.parameters()]
    children = list(model.modules())
    engine = Engine(model, precision=precision)
    engine.logits(images)
    engine.gradients(images, objective(labels))
    assert list(model.modules()) == children
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert [parameter.stride() for parameter in model.parameters()] == strides
    after = model.state_dict()
    assert list(after) == list(state)
    for name, tensor in state.items():
        assert after[name].dtype == tensor.dtype
        assert torch.equal(after[name], tensor)


def test_parameters_are_shared(images: Tensor) -> None:
    """Those of dense layers always, those of convolutions where they lie channels_last already."""
    model = made("plain").to(memory_format=torch.channels_last)
    network = running(Engine(model), images)
    assert [p.data_ptr() for p in network.parameters()] == [p.data_ptr() for p in model.parameters()]
    dense = nn.Sequential(nn.Flatten(), nn.Linear(576, 400), nn.ReLU(), nn.Linear(400, 5))
    copied = running(Engine(dense), images)
    assert [p.data_ptr() for p in copied.parameters()] == [p.data_ptr() for p in dense.parameters()]


def test_buffers_are_not_shared(images: Tensor) -> None:
    class Counting(nn.Module):
        passes: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("passes", torch.zeros(()))
            self.linear = nn.Linear(576, 5)

        def forward(self, x: Tensor) -> Tensor:
            self.passes += 1
            logits: Tensor = self.linear(x.flatten(1))
            return logits

    model = Counting()
    Engine(model).logits(images)
    assert model.passes == 0


@pytest.mark.parametrize("kind", ["plain", "batchnorm", "residual"])
def test_the_engine_follows_a_model_that_is_trained_further(kind: str, images: Tensor, labels: Tensor) -> None:
    model = made(kind)
    engine = Engine(model)
    before = engine.logits(images)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    model.train()
    F.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    optimizer.zero_grad()
    model.eval()
    want = autograd(model, images, labels)
    assert not torch.allclose(before, want[0], atol=1e-3)
    torch.testing.assert_close(engine.logits(images), want[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(engine.gradients(images, objective(labels)).images, want[2], atol=1e-5, rtol=1e-5)


def test_the_engine_follows_a_model_that_loads_other_weights(images: Tensor) -> None:
    model, other = made("batchnorm"), settled(batchnorm())
    engine = Engine(model)
    engine.logits(images)
    model.load_state_dict(other.state_dict())
    torch.testing.assert_close(engine.logits(images), other(images).detach(), atol=1e-5, rtol=1e-5)


def test_a_network_is_prepared_once(images: Tensor) -> None:
    engine = Engine(made("batchnorm"))
    assert running(engine, images) is running(engine, images[:3])


def test_inference_copy_shares_parameters_and_leaves_the_original(images: Tensor) -> None:
    model = made("batchnorm").train()
    copied = inference_copy(model)
    assert copied is not None
    assert [p.data_ptr() for p in copied.parameters()] == [p.data_ptr() for p in model.parameters()]
    assert model.training and not copied.training
    assert inference_copy(Uncopyable()) is None


# --- precision and chunks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*FOLDED, "plain"])
def test_bfloat16_gradients_are_close_and_logits_are_not_rounded(kind: str, images: Tensor, labels: Tensor) -> None:
    model = made(kind)
    logits, _, gradient = autograd(model, images, labels)
    engine = Engine(model, precision="bfloat16")
    found = engine.gradients(images, objective(labels))
    assert found.images.dtype == found.logits.dtype == found.losses.dtype == torch.float32
    similarity = F.cosine_similarity(found.images.flatten(1), gradient.flatten(1))
    assert similarity.median() > 0.999
    assert (similarity > 0.8).all()  # where a ReLU turns, a whole path goes on or off
    assert not torch.equal(found.logits, logits)
    torch.testing.assert_close(found.logits, logits, atol=0.05, rtol=0.05)
    torch.testing.assert_close(engine.logits(images), logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [*FOLDED, "plain", "branching"])
def test_float64(kind: str, images: Tensor, labels: Tensor) -> None:
    model = made(kind)
    logits, losses, gradient = autograd(copy.deepcopy(model).double(), images.double(), labels)
    engine = Engine(model, precision="float64")
    found = engine.gradients(images, objective(labels))
    for have, want in [(engine.logits(images), logits), (found.losses, losses), (found.images, gradient)]:
        assert have.dtype == torch.float32
        torch.testing.assert_close(have, want.float(), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("kind", AS_IT_IS)
@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_what_runs_as_it_is_keeps_its_own_precision(
    kind: str, precision: Precision, images: Tensor, labels: Tensor
) -> None:
    model = made(kind)
    want = autograd(model, images, labels)
    engine = Engine(model, precision=precision)
    torch.testing.assert_close(engine.logits(images), want[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(engine.gradients(images, objective(labels)).images, want[2], atol=1e-5, rtol=1e-5)


def test_an_unknown_precision() -> None:
    message = r"^precision must be one of float32, bfloat16, float64, got 'float16'\.$"
    with pytest.raises(ParameterError, match=message):
        Engine(plain(), precision="float16")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shape", "size"), [((1, 28, 28), 128), ((3, 32, 32), 128), ((3, 64, 64), 32), ((3, 224, 224), 8), ((3, 2, 2), 128)]
)
def test_chunk_sizes(shape: tuple[int, int, int], size: int) -> None:
    assert chunk_size(torch.zeros(1, *shape)) == size


def test_chunks_are_what_the_network_sees(images: Tensor) -> None:
    model, sizes = plain(), []
    model.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    Engine(model, chunk=4).logits(images)
    assert sizes == [4, 4, 3]
    sizes.clear()
    Engine(model).logits(images)
    assert sizes == [11]


@pytest.mark.parametrize("declares", [True, False])
def test_no_images(declares: bool, images: Tensor) -> None:
    model = made("batchnorm")
    if declares:
        model = Classifier(model, name="net", input_shape=SHAPE, num_classes=5)
    engine = Engine(model)
    assert engine.logits(images[:0]).shape == (0, 5 if declares else 0)
    found = engine.gradients(images[:0], objective(torch.zeros(0, dtype=torch.int64)))
    assert found.logits.shape == (0, 5 if declares else 0)
    assert found.losses.shape == (0,)
    assert found.images.shape == (0, *SHAPE)
    assert isinstance(running(engine, images), fx.GraphModule)  # the empty batch did not decide how to run


# --- errors -----------------------------------------------------------------------------------------------------------


class Wrong(nn.Module):
    def __init__(self, answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: Tensor) -> Any:
        return self.answer(images)


def nan_from_7(x: Tensor) -> Tensor:
    """NaN for the image whose first pixel is 7 steps up."""
    return x.flatten(1) + torch.where(x[:, 0, 0, :1] > 0.65, torch.nan, 0.0)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (nan_from_7, "Wrong returns NaN or infinite logits, first for image 7 of the batch."),
        (lambda x: x.flatten(1) / 0, "Wrong returns NaN or infinite logits, first for image 0 of the batch."),
        (lambda x: x, "Wrong must return logits of shape (4, K), got (4, 3, 16, 12)."),
        (lambda x: x.mean((1, 2, 3)), "Wrong must return logits of shape (4, K), got (4,)."),
        (lambda x: x.flatten(1)[:2], "Wrong must return logits of shape (4, K), got (2, 576)."),
        (lambda x: [x], "Wrong must return logits of shape (4, K), got list."),
    ],
    ids=["nan", "infinite", "images", "vector", "fewer", "list"],
)
def test_bad_logits(answer: Callable[[Tensor], Any], message: str) -> None:
    images = (0.1 * torch.arange(10.0)).view(-1, 1, 1, 1).expand(10, *SHAPE)
    engine = Engine(Wrong(answer), chunk=4)
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        engine.logits(images)
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        engine.gradients(images, lambda logits, rows: logits.sum(1))


def root(x: Tensor) -> Tensor:
    """The root of the first value and the others' squares: at 0 the root has an infinite slope."""
    flat = x.flatten(1)
    return torch.cat([flat[:, :1].sqrt(), flat[:, 1:].square()], 1)


@pytest.mark.parametrize("chunk", [None, 1, 4])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
def test_gradients_that_are_not_finite_are_zero_and_marked(
    precision: Precision, chunk: int | None, images: Tensor
) -> None:
    given = images.clone()
    given[[2, 9], 0, 0, 0] = 0
    engine, classes = Engine(Wrong(root), chunk=chunk, precision=precision), torch.tensor([[0, 1]] * len(images))
    for factor in (1.0, torch.nan):  # infinite in one value, NaN in all
        weights = torch.ones(len(given))
        weights[[2, 9]] = factor
        found = engine.gradients(given, lambda logits, rows, w=weights: logits.sum(1) * w[rows])  # type: ignore[misc]
        assert found.broken.nonzero()[:, 0].tolist() == [2, 9]
        assert not found.images[[2, 9]].any()
        assert found.logits.isfinite().all()
        healthy = engine.gradients(images, lambda logits, rows: logits.sum(1))
        assert not healthy.broken.any()
        rest = ~found.broken
        assert torch.equal(found.images[rest], healthy.images[rest])
    parts = list(engine.class_gradients(given, classes, torch.full((len(given),), 2)))
    assert torch.cat([part.broken for part in parts]).nonzero()[:, 0].tolist() == [2, 9]
    assert torch.equal(torch.cat([part.gradients for part in parts])[[2, 9]], torch.zeros(2, 2, *SHAPE))
    assert torch.cat([part.gradients for part in parts])[0].flatten(1).any(1).all()


def test_gradients_too_large_for_float32_are_marked() -> None:
    images = torch.ones(2, 1, 1, 2)
    images[0] /= 2
    engine = Engine(Wrong(lambda x: x.flatten(1).square()), precision="float64")
    found = engine.gradients(images, lambda logits, rows: 2e38 * logits.sum(1))
    assert found.broken.tolist() == [False, True]
    assert found.images[:, 0, 0, 0].tolist() == [pytest.approx(2e38), 0]


def test_no_images_have_no_gradients() -> None:
    found = Engine(Wrong(root)).gradients(torch.zeros(0, *SHAPE), lambda logits, rows: logits.sum(1))
    assert found.broken.shape == (0,)
    assert found.broken.dtype == torch.bool


def test_no_gradients(images: Tensor, labels: Tensor) -> None:
    cut = Engine(Wrong(lambda x: x.detach().flatten(1))).gradients(images, objective(labels))
    assert torch.equal(cut.logits, images.flatten(1))
    assert not cut.images.any(), "a network that lets no gradient pass has one of zero"
    with (
        torch.inference_mode(),
        pytest.raises(InputError, match=r"^there are no gradients inside torch\.inference_mode"),
    ):
        Engine(plain()).gradients(images, objective(labels))
    box = Classifier(plain(), name="box", input_shape=SHAPE, num_classes=5, differentiable=False)
    with pytest.raises(InputError, match=r"^box gives no gradients: attack it as a black box\.$"):
        Engine(box).gradients(images, objective(labels))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_network_may_write_into_its_input(layout: torch.memory_format, images: Tensor, labels: Tensor) -> None:
    given = images.contiguous(memory_format=layout)
    engine = Engine(Wrong(lambda x: x.sub_(0.5).mul_(2).flatten(1)))
    assert torch.equal(engine.logits(given), ((images - 0.5) * 2).flatten(1))
    apart = Engine(Wrong(lambda x: ((x - 0.5) * 2).flatten(1))).gradients(images, objective(labels))
    assert torch.equal(engine.gradients(given, objective(labels)).images, apart.images)
    others = ((labels + 1) % images[0].numel())[:, None]
    gained = torch.cat([part.gradients for part in engine.class_gradients(given, others, labels)])
    assert torch.equal(gained.flatten(2).sum(2), torch.zeros(len(images), 1)), "2 for the one pixel, -2 for the other"
    assert (gained.abs().flatten(1).sum(1) == 4).all()
    assert torch.equal(given, images)


@pytest.mark.parametrize(
    ("error", "told"),
    [(ValueError("abc\ndef"), "ValueError abc"), (KeyError("k"), "KeyError 'k'"), (RuntimeError("abc"), "abc"),
     (AssertionError(), "AssertionError")],
)  # fmt: skip
def test_whatever_a_forward_raises_is_told_in_one_line(error: Exception, told: str, images: Tensor) -> None:
    def fail(_: Tensor) -> Tensor:
        raise error

    shape = tuple(images.shape)
    with pytest.raises(InputError) as caught:
        Engine(Wrong(fail)).logits(images)
    assert str(caught.value) == f"Wrong fails on images of shape {shape}: {told}"
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
def test_black_boxes_run_as_they_are(precision: Precision, images: Tensor) -> None:
    seen: list[Any] = []
    inner = plain().eval()
    box = Classifier(
        Wrong(lambda x: seen.append((x.dtype, x.requires_grad)) or inner(x)),  # type: ignore[func-returns-value]
        name="box",
        input_shape=SHAPE,
        num_classes=5,
        differentiable=False,
    )
    torch.testing.assert_close(Engine(box, precision=precision).logits(images), inner(images).detach())
    assert seen[0] == (torch.float32, False)


def test_logits_that_do_not_depend_on_the_image_have_gradient_0(images: Tensor, labels: Tensor) -> None:
    bias = torch.arange(5.0, requires_grad=True)
    for answer in (lambda x: bias.expand(len(x), 5), lambda x: 0 * x.flatten(1)[:, :5] + bias.detach()):
        found = Engine(Wrong(answer)).gradients(images, objective(labels))
        assert torch.equal(found.images, torch.zeros_like(images))
        assert (found.losses > 0).all()
    assert bias.grad is None


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ((1, 16, 12), "net takes images of 1 x 16 x 12 (channels x height x width), got 3 x 16 x 12."),
        ((3, 32, 32), "net takes images of 3 x 32 x 32 (channels x height x width), got 3 x 16 x 12."),
        ((1, None, None), "net takes images of 1 x any x any (channels x height x width), got 3 x 16 x 12."),
    ],
)
def test_images_of_another_shape(declared: tuple[int, int | None, int | None], message: str, images: Tensor) -> None:
    engine = Engine(Classifier(plain(), name="net", input_shape=declared, num_classes=5))
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        engine.logits(images)
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        engine.gradients(images, lambda logits, rows: logits.sum(1))


def test_the_objective_gets_rows_of_the_whole_batch(images: Tensor) -> None:
    seen: list[list[int]] = []

    def note(logits: Tensor, rows: Tensor) -> Tensor:
        assert len(logits) == len(rows)
        seen.append(rows.tolist())
        return logits.sum(1) * (rows == 5)

    found = Engine(made("plain"), chunk=4).gradients(images, note)
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    moved = found.images.flatten(1).any(1)
    assert moved.nonzero()[:, 0].tolist() == [5]
