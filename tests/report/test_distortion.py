"""The charts that compare attacks of all norms and without a radius, over what they did to the images."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.axes import Axes

from foolscope.attacks import FGSM, PGD
from foolscope.report import page
from foolscope.report.distortion import DISTORTIONS, comparable, distortion_chart
from foolscope.report.figures import Styles
from tests.report.made import ATTACKS, DARKEN, results


def test_attacks_of_one_norm_need_no_other_axis() -> None:
    one = results(attacks=(FGSM(eps=0.1), PGD(eps=0.1, steps=20)))
    assert comparable(one) == []
    assert "All attacks on one axis" not in page(one)


def test_attacks_of_several_norms_and_without_a_radius_are_compared_on_the_plain_network() -> None:
    made = results(attacks=(*ATTACKS, DARKEN))
    curves = comparable(made)
    assert [(curve.attack, curve.norm, len(curve.points)) for curve in curves] == [
        ("fgsm", "linf", 3), ("pgd:steps=20", "linf", 3), ("fgm", "l2", 2), ("darken:share=0.5", "", 1)
    ]  # fmt: skip
    assert {curve.defense for curve in curves} == {""}
    (free,) = (found.outcome for found in made.unrestricted if found.defense == "")
    assert curves[-1].points[0].accuracy == free.accuracy
    assert "All attacks on one axis" in page(made)


@pytest.mark.parametrize("across", DISTORTIONS)
def test_marks_stand_at_the_mean_distances(across: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    plot = Axes.plot

    def noted(self: Axes, x: list[float], y: list[float], **more: Any) -> Any:
        if "transform" not in more:  # the names beside the plot are placed by shares of it
            drawn.append((x, y))
        return plot(self, x, y, **more)

    monkeypatch.setattr(Axes, "plot", noted)
    curves = [curve for curve in comparable(results(attacks=(*ATTACKS, DARKEN))) if curve.norm in ("l2", "")]
    chart = distortion_chart(curves, across, Styles(), width=836, height=380, name="test")
    assert DISTORTIONS[across] in chart
    # The last of eight images was wrong untouched: the mean of `made.record` over the others is 3/7 of the way.
    low, high = {"linf": (0.01, 0.1), "l2": (0.1, 0.2), "ssim": (0.8, 0.9)}[across]
    mean = low + 3 / 7 * (high - low)
    far = 1 - mean if across == "ssim" else mean
    line, interval, mark = drawn
    ends = [curve.points[-1].accuracy for curve in curves]
    assert line == ([0.0, pytest.approx(far, rel=1e-5)], [87.5, 100 * ends[0].value])
    assert interval == ([pytest.approx(far, rel=1e-5)] * 2, [100 * ends[1].low, 100 * ends[1].high])
    assert mark == ([pytest.approx(far, rel=1e-5)], [100 * ends[1].value])
