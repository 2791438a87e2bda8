from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from foolscope.data import load_data
from foolscope.errors import CorruptError, InputError, MissingError, SpecError
from foolscope.models import imagenet
from foolscope.models.classifier import Classifier
from tests.support import needs_data


def picture(path: Path, level: int = 100, size: tuple[int, int] = (8, 6), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, (level,) * 3 if mode == "RGB" else level).save(path)
    return path


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    folder = tmp_path / "animals"
    for level, name in enumerate(("dog/b.png", "cat/1.png", "cat/deep/2.bmp", "cat/.hidden/3.png", "dog/.a.png")):
        picture(folder / name, 50 * level)
    (folder / "cat/notes.txt").write_text("not an image")
    picture(folder / ".cache/x.png")
    picture(folder / "loose.png")
    return folder


def listed(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "listed"
    for level, name in enumerate(("x.png", "y.png", "sub/z.png")):
        picture(folder / name, 50 * level)
    (folder / "labels.csv").write_text(text)
    return folder


def test_one_sub_folder_a_class(animals: Path) -> None:
    data = load_data(f"folder:{animals}")
    assert data.class_names == ("cat", "dog")
    assert data.labels.tolist() == [0, 0, 1]
    assert data.pixels[:, 0, 0, 0].tolist() == [50, 100, 0]
    assert data.pixels.shape == (3, 6, 8, 3)
    assert (data.total, data.credits, data.split) == (3, None, "test")
    assert isinstance(data.pixels, np.memmap)


def test_labels_csv_in_its_order_with_credits(tmp_path: Path) -> None:
    text = "file,label,name,license,author\nsub/z.png,2,ship,CC0,Ann\nx.png,0,cat,,\n"
    data = load_data(f"folder:{listed(tmp_path, text)}")
    assert data.labels.tolist() == [2, 0]
    assert data.pixels[:, 0, 0, 0].tolist() == [100, 0]
    assert (data.class_names, data.num_classes) == (None, 3)
    assert data.label_names == {2: "ship", 0: "cat"}
    assert data.credits == ("Ann, CC0", "")


def test_complete_names_become_class_names(tmp_path: Path) -> None:
    folder = listed(tmp_path, "file,label,name\nx.png,1,dog\ny.png,0,cat\nsub/z.png,1,dog")
    data = load_data(f"folder:{folder}")
    assert data.class_names == ("cat", "dog")
    assert data.credits is None


def test_images_of_different_sizes_are_fitted_and_it_is_said(animals: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load_data(f"folder:{animals}?size=4").pixels.shape == (3, 4, 4, 3)
    picture(animals / "dog/c.png", 7, (300, 500))
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.INFO, "foolscope"):
            data = load_data(f"folder:{animals}")
        assert data.pixels.shape == (4, 224, 224, 3)
        assert (data.pixels[3] == 7).all()
        assert f"{animals}: each image is scaled and center-cropped to 224 x 224 pixels" in caplog.messages


def test_the_middle_is_what_is_left(tmp_path: Path) -> None:
    array = np.zeros((10, 30, 3), np.uint8)
    array[:, 10:20] = 255
    (tmp_path / "wide/a").mkdir(parents=True)
    Image.fromarray(array).save(tmp_path / "wide/a/1.png")
    assert (load_data(f"folder:{tmp_path / 'wide'}?size=10").pixels == 255).all()
    assert load_data(f"folder:{tmp_path / 'wide'}").pixels.shape == (1, 10, 30, 3)


def test_gray_folders_stay_gray_and_mixed_ones_become_color(tmp_path: Path) -> None:
    picture(tmp_path / "mix/a/1.png", 9, mode="L")
    assert load_data(f"folder:{tmp_path / 'mix'}").pixels.shape == (1, 6, 8, 1)
    picture(tmp_path / "mix/a/2.png", 5)
    mixed = load_data(f"folder:{tmp_path / 'mix'}")
    assert mixed.pixels.shape == (2, 6, 8, 3)
    assert mixed.pixels[:, 0, 0].tolist() == [[9] * 3, [5] * 3]


def test_splits_are_folders(tmp_path: Path) -> None:
    root = tmp_path / "both"
    picture(root / "train/cat/1.png", 1)
    picture(root / "test/cat/2.png", 2)
    assert load_data(f"folder:{root}", "train").pixels.max() == 1
    assert load_data(f"folder:{root}").pixels.max() == 2
    with pytest.raises(SpecError, match=r"both has no split 'valid': it has train and test\.$"):
        load_data(f"folder:{root}", "valid")


def test_a_changed_folder_is_read_anew(animals: Path) -> None:
    first = load_data(f"folder:{animals}")
    picture(animals / "cat/1.png", 77, (8, 6)).touch()
    second = load_data(f"folder:{animals}")
    assert second.pixels[0, 0, 0, 0] == 77
    assert first.digest != second.digest
    (animals / "dog/b.png").rename(animals / "cat/b.png")
    assert load_data(f"folder:{animals}").labels.tolist() == [0, 0, 0]


def test_sub_folders_are_aligned_to_a_model_by_name(animals: Path) -> None:
    data = load_data(f"folder:{animals}")
    names = ["Dog", "frog", "CAT"]
    network = nn.Sequential(nn.Flatten(), nn.Linear(144, 3))
    model = Classifier(network, name="net", input_shape=(3, 6, 8), num_classes=3, class_names=names)
    with pytest.raises(InputError, match=r"has 2 classes \(cat, dog\), but net has 3 classes \(Dog, frog, CAT\)\.$"):
        data.check_against(model)
    aligned = data.aligned_to(model)
    aligned.check_against(model)
    assert aligned.labels.tolist() == [2, 2, 0]


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("", InputError, "labels.csv needs the columns file and label, it has none."),
        ("file,class\nx.png,1", InputError, "labels.csv needs the columns file and label, it has file, class."),
        ("file,label\n", InputError, "labels.csv lists no images."),
        ("file,label\nx.png,cat", InputError, "line 2: the label 'cat' is no class index, a whole number from 0."),
        ("file,label\nx.png,-1", InputError, "line 2: the label '-1' is no class index, a whole number from 0."),
        ("file,label\nx.png", InputError, "line 2: the label '' is no class index, a whole number from 0."),
        ("file,label\nx.png,0\n../x.png,0", InputError, "line 3: '../x.png' is no file inside {folder}."),
        ("file,label\n/etc/passwd,0", InputError, "line 2: '/etc/passwd' is no file inside {folder}."),
        ("file,label\n,0", InputError, "line 2: '' is no file inside {folder}."),
        ("file,label\nno.png,0", MissingError, "line 2: no such file {folder}/no.png."),
        ("file,label,name\nx.png,0,cat\ny.png,0,dog", InputError, "line 3: class 0 is 'dog' here and 'cat' before."),
        ("file,label\nlabels.csv,0", CorruptError, "labels.csv: not an image that Pillow can read."),
    ],
)
def test_lists_that_cannot_be_used(tmp_path: Path, home: Path, text: str, kind: type[Exception], message: str) -> None:
    folder = listed(tmp_path, text)
    with pytest.raises(kind, match=re.escape(message.replace("{folder}", str(folder))) + "$") as caught:
        load_data(f"folder:{folder}")
    assert str(caught.value).startswith(str(folder))
    assert not list((home / "data").glob("*"))


def test_a_list_that_is_no_text(tmp_path: Path) -> None:
    folder = listed(tmp_path, "")
    (folder / "labels.csv").write_bytes(b"file,label\n\xff\xfe,0\n")
    with pytest.raises(CorruptError, match=r"labels\.csv: not a CSV file in UTF-8 \(.+\)\.$"):
        load_data(f"folder:{folder}")


def test_folders_that_cannot_be_used(tmp_path: Path, animals: Path, home: Path) -> None:
    with pytest.raises(MissingError, match=rf"^{re.escape(str(tmp_path))}/none: no such folder\.$"):
        load_data(f"folder:{tmp_path}/none")
    (tmp_path / "empty/cat").mkdir(parents=True)
    expected = r"/empty holds no images: expected one sub-folder of images a class, or a labels\.csv\.$"
    with pytest.raises(InputError, match=expected):
        load_data(f"folder:{tmp_path}/empty")
    with pytest.raises(SpecError, match=r"has no split 'train': all of it is the split test; for others make the fol"):
        load_data(f"folder:{animals}", "train")
    Image.effect_noise((8, 6), 90).convert("RGB").save(animals / "dog/z.png")
    (animals / "dog/z.png").write_bytes((animals / "dog/z.png").read_bytes()[:-60])
    with pytest.raises(CorruptError, match=r"/animals/dog/z\.png: damaged image \(.+\)\.$"):
        load_data(f"folder:{animals}")
    assert not list((home / "data").glob("*"))


@needs_data
def test_real_photographs(real_data: Path) -> None:
    data = load_data(f"folder:{real_data}/photos-imagenet")
    assert data.pixels.shape == (150, 299, 299, 3)
    assert len(set(data.labels.tolist())) == len(data.label_names) == 150
    assert data.class_names is None
    assert data.credits is not None
    license_and_url = "https://creativecommons.org/licenses/by/2.0/, https://www.flickr.com/photos/"
    assert data.credits[0].startswith(f"National Assembly for Wales, {license_and_url}")
    names = list(imagenet.class_names())
    model = Classifier(nn.Identity(), name="net", input_shape=(3, None, None), num_classes=1000, class_names=names)
    data.check_against(model)
    assert data.aligned_to(model) is data
    names[566] = "tuba"
    wrong = Classifier(nn.Identity(), name="net", input_shape=(3, None, None), num_classes=1000, class_names=names)
    with pytest.raises(InputError, match=r"^class 566 of folder:.+ is 'French_horn', of net 'tuba'; folder:.+ has "):
        data.check_against(wrong)
