from __future__ import annotations

import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from foolscope.data import load_data, photos, status
from foolscope.errors import MissingError
from foolscope.models import imagenet
from tests.support import needs_data


def test_digits_are_scikit_learns_each_in_one_split() -> None:
    train, test = load_data("digits", "train"), load_data("digits")
    assert (train.pixels.shape, test.pixels.shape) == ((1297, 28, 28, 1), (500, 28, 28, 1))
    assert train.class_names == tuple("0123456789")
    counts = torch.from_numpy(load_digits().target).bincount()
    assert torch.equal(train.labels.bincount() + test.labels.bincount(), counts)
    assert (test.labels.bincount() - counts * 500 / 1797).abs().max() < 1
    every = {image.tobytes() for image in (*train.pixels, *test.pixels)}
    assert len(every) == len({image.tobytes() for image in load_digits().images})


def test_digits_lie_on_black_and_look_like_a_small_one_of_the_same_label() -> None:
    data, small = load_data("digits"), load_digits()
    margin = data.pixels.copy()
    margin[:, 4:24, 4:24] = 0
    assert not margin.any()
    # Means over 5 x 5 pixels are close to means over 2 x 2 of the original, the right way up and not mirrored.
    blocks = data.pixels[:, 4:24, 4:24, 0].reshape(-1, 4, 5, 4, 5).mean((2, 4))
    originals = small.images.reshape(-1, 4, 2, 4, 2).mean((2, 4)) * (255 / 16)
    distance = np.abs(blocks[:, None] - originals[None]).mean((2, 3))
    assert distance.min(1).max() < 10
    assert small.target[distance.argmin(1)].tolist() == data.labels.tolist()


def test_digits_have_the_same_bits_everywhere() -> None:
    assert load_data("digits").digest == "c4ffc90cddf88f4ebd4b8b570419b5b9b7c9ea2e70441a7b45a917a0cb0c898c"
    assert load_data("digits", "train").digest == "267f1ac52d83986b5e46e78d2e083f0f8d390add4ba642e25821647d027044c1"


def test_photos_are_labeled_and_credited() -> None:
    data = load_data("photos")
    assert data.pixels.shape == (6, 224, 224, 3)
    assert [data.label_name(label) for label in data.labels.tolist()] == ["tabby", "espresso"] * 3
    assert data.class_names == imagenet.class_names()
    assert data.credits is not None
    assert [("Stefan van der Walt" in line, "Rachel Michetti" in line) for line in data.credits] == [
        (True, False),
        (False, True),
    ] * 3
    assert len({image.tobytes() for image in data.pixels}) == 6
    assert str(status("photos")) == str(status("digits")) == "embedded"


@needs_data
def test_networks_see_what_the_labels_say_among_their_first_five(real_data: Path) -> None:
    from foolscope.models import load_model

    data = load_data("photos")
    for name in ("mobilenet_v2", "squeezenet1_1"):
        model = load_model(f"torchvision:{name}")
        data.check_against(model)
        with torch.no_grad():
            best = model(data.images).topk(5).indices
        assert (best == data.labels[:, None]).any(1).all()


def test_photos_without_scikit_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"^photos needs scikit-image: pip install scikit-image\.$"):
        load_data("photos")


def test_photos_whose_file_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = ModuleSpec("skimage", None, is_package=True)
    package.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(photos, "find_spec", lambda name: package)
    with pytest.raises(MissingError, match=r"data/chelsea\.png: no such file\.$"):
        load_data("photos")


def test_photos_do_not_import_scikit_image() -> None:
    code = "import sys; from foolscope.data import load_data; load_data('photos'); print('skimage' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
