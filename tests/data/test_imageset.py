from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from foolscope.data import ImageSet
from foolscope.data.imageset import array_digest, normalized
from foolscope.errors import InputError, ParameterError
from foolscope.models.classifier import Classifier

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def make(
    count: int = 12,
    names: Sequence[str] | None = ("cat", "dog", "hot dog"),
    classes: int = 3,
    channels: int = 1,
    label_names: dict[int, str] | None = None,
) -> ImageSet:
    pixels = np.arange(count * 20 * channels, dtype=np.uint8).reshape(count, 4, 5, channels)
    labels = torch.arange(count) % classes
    return ImageSet(
        name="toys",
        split="test",
        pixels=pixels,
        labels=labels,
        num_classes=classes,
        class_names=None if names is None else tuple(names),
        label_names=label_names or {},
        digest=array_digest(pixels, labels),
        total=count,
        credits=tuple(f"by {row}" for row in range(count)),
    )


def model(names: Sequence[str] | None, classes: int, channels: int = 1) -> Classifier:
    network = nn.Sequential(nn.Flatten(), nn.Linear(20 * channels, classes))
    shape = (channels, 4, 5)
    return Classifier(network, name="net", input_shape=shape, num_classes=classes, class_names=names)


def test_images_are_the_pixels_over_255_also_of_a_read_only_gray_array() -> None:
    data = make()
    data.pixels.setflags(write=False)
    images = data.images
    assert images.dtype == torch.float32
    assert images.shape == (12, 1, 4, 5)
    assert images[1, 0, 2, 3].item() == pytest.approx((20 + 13) / 255)
    images.zero_()
    assert data.pixels.max() == 239


def test_task_repr_and_names() -> None:
    data = make(channels=3)
    assert data.task.input_shape == (3, 4, 5)
    assert (data.task.name, data.task.num_classes, data.task.class_names) == ("toys", 3, ("cat", "dog", "hot dog"))
    assert repr(data) == "ImageSet(toys test: 12 images 3 x 4 x 5)"
    assert repr(data.limit(5)) == "ImageSet(toys test: 5 of 12 images 3 x 4 x 5)"
    assert data.label_name(2) == "hot dog"
    assert make(names=None, label_names={1: "dog"}).label_name(1) == "dog"
    assert make(names=None).label_name(1) == "1"


@pytest.mark.parametrize(
    "index",
    [slice(3, 9, 2), slice(None, None, -1), torch.tensor([5, 0, 5]), torch.arange(12) % 3 == 1, torch.tensor([-1])],
)
def test_rows_keep_image_label_and_credit_together(index: slice | torch.Tensor) -> None:
    data = make()
    part = data.rows(index)
    everything = list(range(12))
    rows = everything[index] if isinstance(index, slice) else torch.tensor(everything)[index].tolist()
    assert np.array_equal(part.pixels, data.pixels[rows])
    assert part.labels.tolist() == [row % 3 for row in rows]
    assert part.credits == tuple(f"by {row}" for row in rows)
    assert part.total == 12
    assert part.is_preview == (len(rows) < 12)
    assert part.digest != data.digest


def test_all_rows_are_the_set_itself() -> None:
    data = make()
    assert data.rows(slice(None)) is data
    assert data.rows(torch.arange(12)) is data
    assert len(data.rows(slice(0, 0))) == 0


def test_digest_tells_rows_pixels_and_labels_apart() -> None:
    data = make()
    digests = {
        data.digest,
        data.rows(slice(0, 3)).digest,
        data.rows(slice(0, 4)).digest,
        data.rows(torch.tensor([1, 0, 2])).digest,
        array_digest(data.pixels + np.uint8(1), data.labels),
        array_digest(data.pixels, data.labels.flip(0)),
        array_digest(data.pixels.reshape(12, 5, 4, 1), data.labels),
    }
    assert len(digests) == 7
    assert data.rows(slice(0, 3)).digest == data.rows(torch.tensor([0, 1, 2])).digest


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (torch.tensor([12]), "rows outside the 12 images of toys."),
        (torch.ones(3, dtype=torch.bool), "rows outside the 12 images of toys."),
        (torch.tensor([1.0]), "rows must be whole numbers (n,) or a mask, got torch.float32 (1,)."),
        (torch.tensor([[1]]), "rows must be whole numbers (n,) or a mask, got torch.int64 (1, 1)."),
    ],
)
def test_rows_that_are_none(index: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        make().rows(index)


@given(small=st.integers(1, 40), more=st.integers(0, 40), seed=st.integers(0, 2**32))
def test_a_smaller_limit_is_the_beginning_of_a_larger_one(small: int, more: int, seed: int) -> None:
    data = make(count=60)
    first, second = data.limit(small + more, seed), data.limit(small, seed)
    if small + more < 60:
        assert first.rows(slice(0, small)).pixels.tobytes() == second.pixels.tobytes()
        assert first.credits is not None
        assert second.credits == first.credits[:small]
        assert len(set(first.credits)) == small + more
    else:
        assert first is data


def test_limit_depends_on_the_seed_and_is_not_the_first_images() -> None:
    data = make(count=60)
    orders = {data.limit(20, seed).credits for seed in range(5)} | {data.rows(slice(0, 20)).credits}
    assert len(orders) == 6


def test_limit_below_one() -> None:
    with pytest.raises(ParameterError, match=r"^limit must be at least 1, got 0\.$"):
        make().limit(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"pixels": np.zeros((12, 4, 5), np.uint8)},
            "toys: pixels must be uint8 (N, H, W, C) with C 1 or 3, got uint8",
        ),
        ({"pixels": np.zeros((12, 4, 5, 1))}, "toys: pixels must be uint8 (N, H, W, C) with C 1 or 3, got float64"),
        ({"labels": torch.arange(12)}, "toys: labels must be class indices from 0 to 2, found 0 to 11."),
        ({"labels": torch.zeros(3).long()}, "toys: labels must have shape (12,), one for each image, got (3,)."),
        ({"class_names": ("a", "b")}, "toys: 2 class names for 3 classes."),
        ({"credits": ("a",)}, "toys: 1 credits for 12 images."),
    ],
)
def test_parts_that_do_not_fit(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        dataclasses.replace(make(), **changes)  # type: ignore[arg-type]


def test_names_agree_without_case_and_separators() -> None:
    assert normalized("Hot_Dog") == normalized("hot dog") == normalized("hot-dog")
    make().check_against(model(["Cat", "DOG", "hot_dog"], 3))
    make().check_against(model(None, 3))
    make().check_against(nn.Linear(1, 1))


@pytest.mark.parametrize(
    ("data", "network", "message"),
    [
        (
            make(),
            model(CIFAR, 10),
            "toys has 3 classes (cat, dog, hot dog), but net has 10 classes (airplane, automobile, bird, ...).",
        ),
        (make(), model(None, 2), "toys has 3 classes (cat, dog, hot dog), but net has 2 classes."),
        (
            make(),
            model(["cat", "hot dog", "dog"], 3),
            "class 1 of toys is 'dog', of net 'hot dog'; toys has 3 classes (cat, dog, hot dog), net has 3 classes "
            "(cat, hot dog, dog).",
        ),
        (make(names=None), model(None, 2), "toys has labels up to 2, but net has 2 classes."),
        (
            make(names=None, label_names={2: "hot dog"}),
            model(["cat", "dog", "frog", "horse"], 4),
            "class 2 of toys is 'hot dog', of net 'frog'; toys has 3 classes, net has 4 classes (cat, dog, frog, ...).",
        ),
        (make(), model(["cat", "dog", "hot dog"], 3, channels=3), "net takes images of 3 x 4 x 5 (channels x height "),
    ],
)
def test_a_set_and_a_model_that_disagree(data: ImageSet, network: Classifier, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        data.check_against(network)


def test_label_names_of_labels_that_are_not_there_are_not_compared() -> None:
    data = make(names=None, label_names={0: "cat", 2: "wrong"}).rows(torch.arange(12) % 3 < 2)
    data.check_against(model(["cat", "dog", "frog", "horse"], 4))


def test_aligned_labels_are_the_models_indices() -> None:
    data = make(count=3)
    network = model(["Hot_dog", "bird", "dog", "CAT"], 4)
    aligned = data.aligned_to(network)
    assert aligned.labels.tolist() == [3, 2, 0]
    assert aligned.class_names == ("Hot_dog", "bird", "dog", "CAT")
    assert aligned.num_classes == 4
    assert aligned.digest != data.digest
    aligned.check_against(network)
    assert aligned.aligned_to(network) is aligned


def test_alignment_that_is_not_needed_or_not_possible_by_name() -> None:
    data = make()
    assert data.aligned_to(model(["cat", "dog", "hot-dog"], 3)) is data
    assert data.aligned_to(model(None, 3)) is data
    with pytest.raises(InputError, match=r"^toys has 3 classes \(cat, dog, hot dog\), but net has 9 classes\.$"):
        data.aligned_to(model(None, 9))


def test_alignment_with_a_class_that_the_model_does_not_know() -> None:
    message = (
        "class 'hot dog' of toys is not among those of net: toys has 3 classes (cat, dog, hot dog), net has 10 "
        "classes (airplane, automobile, bird, ...)."
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        make().aligned_to(model(CIFAR, 10))


def test_a_name_that_two_classes_have_is_decided_by_its_spelling_or_refused() -> None:
    data, names = make(names=["dog", "Cardigan", "cat"]), ["Cardigan", "cardigan", "dog", "cat"]
    assert data.aligned_to(model(names, 4)).labels[:3].tolist() == [2, 0, 3]
    message = (
        "'CARDIGAN' is class 0 and 1 of net: give indices in a labels.csv; toys has 3 classes (dog, CARDIGAN, cat)"
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        make(names=["dog", "CARDIGAN", "cat"]).aligned_to(model(names, 4))
