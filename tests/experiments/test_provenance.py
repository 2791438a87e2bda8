"""What repeats an audit, and how a network's numbers are counted."""

from __future__ import annotations

import ast
import shlex
from dataclasses import replace

import pytest

from foolscope.experiments.provenance import ParameterCount, Repetition
from foolscope.models import load_model

ASKED = Repetition(
    model="lenet", data="digits", split="test", limit=None, attacks=["fgsm", "pgd:steps=2"],
    eps={"linf": (0.1, 8 / 255)}, defenses=("jpeg:quality=50",), seed=3, precision="float32", device=None,
)  # fmt: skip


def test_the_command() -> None:
    assert ASKED.command() == (
        "foolscope audit lenet --data digits --attacks fgsm,pgd:steps=2 --eps linf=0.1,8/255 --defense jpeg:quality=50 "
        "--seed 3"
    )
    other = replace(ASKED, data="folder:my photos", split="train", limit=5, precision="bfloat16", device="cuda:1")
    assert shlex.split(other.command() or "")[4] == "folder:my photos"
    assert (other.command() or "").endswith("--limit 5 --seed 3 --precision bfloat16 --device cuda:1")
    assert replace(ASKED, model=None).command() is None


def test_draws_and_the_examination_are_repeated() -> None:
    more = replace(ASKED, eot=4, examine=True)
    assert (more.command() or "").endswith("--seed 3 --eot 4 --examine")
    assert "precision='float32', eot=4, examine=True," in more.python()


@pytest.mark.parametrize("device", [None, "cuda:1"])
def test_the_python_writes_the_report_and_names_the_device(device: str | None) -> None:
    lines = replace(ASKED, device=device).python().splitlines()
    assert lines[-1] == "fs.report.write(results, 'report')"
    assert ("device='cuda:1'" in lines[-3]) == (device is not None)
    call = ast.parse("\n".join(lines)).body[1]
    assert isinstance(call, ast.Assign)
    assert isinstance(call.value, ast.Call)
    named = {word.arg: ast.literal_eval(word.value) for word in call.value.keywords}
    assert named.pop("device", None) == device
    assert named == {
        "eps": ASKED.eps, "defenses": ["jpeg:quality=50"], "split": "test", "limit": None, "seed": 3,
        "precision": "float32",
    }  # fmt: skip
    assert [ast.literal_eval(word) for word in call.value.args] == ["lenet", "digits", ["fgsm", "pgd:steps=2"]]


@pytest.mark.parametrize(
    ("spec", "count"),
    [("cifar-cnn", ParameterCount(551_466, 896)), ("lenet", ParameterCount(61_706, 0))],
)
def test_counted_as_the_reports_table_counts(spec: str, count: ParameterCount) -> None:
    """Fig. 19: 552,362 parameters, 551,466 of them trainable."""
    assert ParameterCount.of(load_model(f"{spec}:weights=none")) == count
