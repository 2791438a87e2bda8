"""`audit` and `demo`: stdout is the result, stderr the progress; the report lies where it is said to lie."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from foolscope.cli import demo
from tests.cli.running import Program
from tests.support import ROOT, needs_data

FILES = ["report.html", "results.json", "results.parquet"]


def test_prints_the_table_and_writes_the_report(program: Program, net: str, tmp_path: Path) -> None:
    out = tmp_path / "report"
    outcome = program(
        "audit", net, "--data", "digits", "--attacks", "fgsm,pgd:steps=3,fgm", "--eps", "0.05,0.1", "--eps", "l2=1",
        "--defense", "jpeg:quality=50", "--black-box", 20, "--limit", 32, "--out", out,
    )  # fmt: skip
    assert outcome.code == 0
    assert outcome.err == f"Report: {out / 'report.html'}\n"
    assert sorted(path.name for path in out.iterdir()) == FILES
    lines = outcome.out.splitlines()
    assert lines[0] == "lenet on digits (32 of 500 images): a preview"
    assert [line.strip() for line in lines if "distance" in line] == [
        "accuracy in % at linf distance", "accuracy in % at l2 distance",
    ]  # fmt: skip
    content = json.loads((out / "results.json").read_text())
    rows = {(c["attack"], c["defense"], c["mode"]): c["points"] for c in content["curves"]}
    assert len(rows) == 3 * 4 + 2  # plain, oblivious and both gradients; Square in both norms
    for (attack, defense, mode), points in rows.items():
        shares = [f"{100 * point['accuracy']['value']:.1f}" for point in points]
        expected = [attack, defense or "none", *([] if mode == "none" else mode.split()), *shares]
        assert expected in [line.split() for line in lines], expected
    assert sum("worst of all  " in line for line in lines) == 3  # plain linf; jpeg linf and l2, of two attacks each
    table = pq.read_table(out / "results.parquet")
    assert table.num_rows == 32 * len([1 for points in rows.values() for point in points if point["eps"]])
    assert "Preview: 32 of 500" in (out / "report.html").read_text()
    assert (
        "worst of all: every image under the attack that is worst for it, oblivious or adaptive, at up to this radius."
    ) in lines
    for norm, eps in (("linf", 0.1), ("l2", 1)):
        (weakest,) = [c for c in content["weakest"] if (c["norm"], c["defense"]) == (norm, "jpeg:quality=50")]
        (point,) = [point for point in weakest["points"] if point["eps"] == eps]
        by = point["strongest"]
        assert (
            f"jpeg:quality=50 keeps {100 * point['accuracy']['value']:.1f} % at {eps} in {norm}; most is done by "
            f"{by['attack']} ({by['mode']}): {100 * by['accuracy']['value']:.1f} % under it alone."
        ) in lines


def test_a_dry_run_tells_the_attacks_and_what_they_cost(program: Program, net: str) -> None:
    asked = (
        "audit", net, "--data", "digits", "--attacks", "fgsm,pgd:steps=3", "--eps", "0.05,0.1", "--limit", 8,
        "--defense", "bits:depth=3", "--defense", "jpeg", "--black-box", 7,
    )  # fmt: skip
    content = program(*asked, "--dry-run", "--json").json
    steps = {(s["attack"], *s["victims"], s["mode"]): (s["passes"], s["cells"], s["done"]) for s in content["steps"]}
    fgsm, pgd = (2 * (1 + 1), 2, 0), (2 * (3 + 1), 2, 0)
    assert steps == {
        ("fgsm", "", "none"): fgsm, ("pgd:steps=3", "", "none"): pgd,
        ("fgsm", "bits:depth=3", "jpeg", "oblivious"): fgsm, ("pgd:steps=3", "bits:depth=3", "jpeg", "oblivious"): pgd,
        ("fgsm", "bits:depth=3", "straight-through"): fgsm, ("pgd:steps=3", "bits:depth=3", "straight-through"): pgd,
        ("square:queries=7", "bits:depth=3", "black box"): (1 + 8, 1, 0),
        ("fgsm", "jpeg", "straight-through"): fgsm, ("pgd:steps=3", "jpeg", "straight-through"): pgd,
        ("fgsm", "jpeg", "differentiable"): fgsm, ("pgd:steps=3", "jpeg", "differentiable"): pgd,
        ("square:queries=7", "jpeg", "black box"): (1 + 8, 1, 0),
    }  # fmt: skip
    assert not list(Path().iterdir()), "nothing is computed"
    last = program(*asked, "--dry-run").out.splitlines()[-1]
    total = sum(passes for passes, _, _ in steps.values())
    assert last == f"at most {8 * total} passes over an image are left, for 8 images; most leave their attack early."
    out = program(*asked).out
    assert "bits:depth=3 has no smooth stand-in: adaptive gradients pass it straight through." in out.splitlines()
    assert program(*asked, "--dry-run").out.splitlines()[-1].startswith("at most 0 passes over an image are left")
    more = (*asked, "--examine", "--explain", "saliency,grad-cam", "--dry-run")
    assert program(*more).out.splitlines()[-2:] == [
        "Besides, it examines: the plain network, bits:depth=3, jpeg.",
        "Besides, it explains the strongest attack by: saliency, grad-cam.",
    ]
    content = program(*more, "--json").json
    assert [one["defense"] for one in content["examinations"]] == ["", "bits:depth=3", "jpeg"]
    assert content["explanations"] == ["saliency", "grad-cam"]


def test_one_attack_has_no_worst_of_all(program: Program, net: str) -> None:
    out = program("audit", net, "--data", "digits", "--attacks", "fgsm", "--eps", "0.1", "--limit", 4).out
    assert "worst of all" not in out


def test_json_is_the_file_and_nothing_else(program: Program, net: str) -> None:
    arguments = ("audit", net, "--data", "digits", "--attacks", "fgsm", "--eps", "0.1", "--limit", 8, "--json")
    outcome = program(*arguments, "--out", "there")
    assert outcome.code == 0
    assert outcome.json == json.loads(Path("there/results.json").read_text())
    again = program(*arguments, "--out", "there")
    assert again.json == outcome.json, "finished cells keep their time"


def test_the_report_goes_into_a_folder_named_by_model_and_data(program: Program, net: str) -> None:
    outcome = program("audit", net, "--data", "digits", "--attacks", "fgsm", "--eps", "0.1", "--limit", 4)
    (folder,) = Path("foolscope-reports").iterdir()
    assert re.fullmatch(r"[\w.-]+-net.safetensors-arch-lenet-digits-preview", folder.name)
    assert outcome.err == f"Report: {folder.resolve() / 'report.html'}\n"
    assert sorted(path.name for path in folder.iterdir()) == FILES


def test_a_preview_leaves_the_whole_report_alone(program: Program, net: str) -> None:
    asked = ("audit", net, "--data", "digits", "--attacks", "fgsm", "--eps", "0.1")
    assert program(*asked).code == 0
    (whole,) = Path("foolscope-reports").iterdir()
    before = (whole / "results.json").read_bytes()
    assert program(*asked, "--limit", 4).code == 0
    assert program(*asked, "--limit", 100_000).code == 0  # all of them
    assert sorted(path.name for path in Path("foolscope-reports").iterdir()) == [whole.name, f"{whole.name}-preview"]
    assert (whole / "results.json").read_bytes() == before


def test_a_black_box_is_audited_by_filters(program: Program) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    helper, kind, rng = onnx.helper, onnx.TensorProto.FLOAT, np.random.default_rng(0)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "weight"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("x", kind, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", kind, ["N", 2])],
        [helper.make_tensor("weight", kind, [192, 2], rng.normal(size=384).tolist())],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "net.onnx")
    for number in range(12):
        folder = Path("pictures") / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    asked = ("audit", "onnx:net.onnx", "--data", "folder:pictures")
    outcome = program(*asked, "--attacks", "filter:chain=agv-b", "--defense", "jpeg:quality=50", "--json")
    assert outcome.code == 0, outcome.err
    assert [(found["attack"], found["mode"]) for found in outcome.json["unrestricted"]] == [
        ("filter", mode) for mode in ("none", "oblivious", "black box")
    ]
    assert program.fails(*asked).startswith("onnx:net.onnx gives no gradients: fgsm, pgd cannot attack it")


def test_warnings_are_printed(program: Program, tmp_path: Path) -> None:
    Path("soft.py").write_text(
        "from torch import nn\n\n\ndef build():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Softmax(1))\n"
    )
    outcome = program("audit", "py:soft:build", "--data", "digits", "--attacks", "fgsm", "--eps", "0.1", "--limit", 4)
    assert outcome.code == 0
    assert (
        "Warning: The model returns probabilities, not logits: their gradients vanish where it is sure, and gradient "
        "attacks look weaker than they are. Remove the softmax."
    ) in outcome.out.splitlines()


def test_the_verdict_is_printed_in_one_line(program: Program, net: str) -> None:
    outcome = program(
        "audit", net, "--data", "digits", "--attacks", "fgsm", "--eps", "0.3", "--limit", 60,
        "--defense", "bits:depth=3,gradient=none", "--examine", "--eot", 2, "--out", "there",
    )  # fmt: skip
    assert outcome.code == 0
    content = json.loads(Path("there/results.json").read_text())
    verdicts = [entry["verdict"] for entry in content["examinations"]]
    assert verdicts == ["believable", "masked"]
    line = "Can these numbers be believed? no defense: believable; bits:depth=3,gradient=none: masked."
    assert line in outcome.out.splitlines()
    assert content["about"]["command"].endswith("--eot 2 --examine")


def test_an_edited_model_is_attacked_anew(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run must not find the first one's cells."""
    source = (
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def forward(self, x):\n"
        "        return x.flatten(1)[:, 300:310] * {}\n\n\ndef build():\n    return Net()\n"
    )
    found = []
    for name, factor in (("first", "1"), ("second", "-1")):
        Path(name).mkdir()
        (Path(name) / "edited.py").write_text(source.format(factor))
        with monkeypatch.context() as patch:
            patch.chdir(name)
            patch.delitem(sys.modules, "edited", raising=False)
            command = ("audit", "py:edited:build", "--data", "digits", "--eps", "0.1", "--limit", 64, "--json")
            found.append(program(*command).json["clean"])
    assert found[0] != found[1]


def test_the_demo_says_where_its_report_is(program: Program) -> None:
    outcome = program("demo")
    assert outcome.code == 0
    lines = outcome.err.splitlines()
    assert lines[0] == "Attacking LeNet on 256 embedded digits, plain and behind JPEG ..."
    assert lines[1] == f"Report: {Path.cwd() / 'foolscope-reports' / 'demo' / 'report.html'}"
    assert lines[2] == "Fool a network yourself, in the browser: foolscope serve"
    assert outcome.out.startswith("lenet on digits (256 of 500 images): a preview")
    assert sorted(path.name for path in Path("foolscope-reports/demo").iterdir()) == FILES


def test_the_demo_names_a_command_that_the_shell_finds(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Path(sys.executable).parent / "foolscope"
    monkeypatch.setattr(sys, "argv", [str(script)])
    for path, shown in ((str(script.parent), "foolscope"), ("/nowhere", os.path.relpath(script))):
        monkeypatch.setenv("PATH", path)
        assert demo._program() == shown


@needs_data
def test_color_images(program: Program) -> None:
    outcome = program(
        "audit", "cifar-cnn:weights=none", "--data", "cifar10", "--attacks", "fgsm", "--eps", "8/255", "--limit", 8,
        "--json",
    )  # fmt: skip
    assert outcome.code == 0
    assert outcome.json["about"]["data"]["of"] == 10_000
    assert outcome.json["about"]["attacks"] == [{"name": "fgsm", "norm": "linf", "eps": [8 / 255]}]


def test_an_interrupt_stops_with_130_and_the_same_command_goes_on(net: str, tmp_path: Path) -> None:
    command = [
        "audit",
        net,
        "--data",
        "digits",
        "--attacks",
        "pgd:steps=1000",
        "--eps",
        "0.02:0.6:0.02",
        "--limit",
        "64",
    ]
    environment = {**os.environ, "FOOLSCOPE_HOME": str(tmp_path / "home")}
    child = subprocess.Popen(
        [sys.executable, "-m", "foolscope", *command, "--out", str(tmp_path / "out")],
        cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    end = time.monotonic() + 120
    while not list((tmp_path / "home").glob("store/*/*/cell.json")) and time.monotonic() < end:
        time.sleep(0.01)
    with child:
        try:
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=120)
        finally:
            child.kill()
    assert child.returncode == 130
    assert out == ""
    assert err.endswith("stopped; the same command goes on from here.\n")
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "home" / "store").glob(".part-*"))
