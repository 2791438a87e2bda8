"""Radii and attacks as they are asked for."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foolscope.attacks import ATTACKS, DDN, FGSM, PGD
from foolscope.errors import ParameterError, SpecError
from foolscope.experiments.grid import (
    UNRESTRICTED,
    AttackGrid,
    attack_grids,
    default_eps,
    norm_of,
    parse_eps,
    parse_eps_by_norm,
    specs_and_eps,
    split_attacks,
    without_eps,
)
from tests.experiments.unrestricted import Darken

GRAY, COLOR = (1, 28, 28), (3, 32, 32)


@pytest.mark.parametrize(
    ("text", "radii"),
    [
        ("0.1", (0.1,)),
        ("8/255", (8 / 255,)),
        ("1/255,2/255, 8/255", (1 / 255, 2 / 255, 8 / 255)),
        ("0:0.3:0.05", (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)),
        ("0:0.3:0.1,0.25", (0.0, 0.1, 0.2, 0.25, 0.3)),
        ("0.3,0.1,0.1", (0.1, 0.3)),
        ("0:1:0.3", (0.0, 0.3, 0.6, 0.9)),
        ("0:8/255:4/255", (0.0, float(f"{4 / 255:.10g}"), float(f"{8 / 255:.10g}"))),
        ("0.2:0.2:0.1", (0.2,)),
        ("0", (0.0,)),
    ],
)
def test_reads_radii(text: str, radii: tuple[float, ...]) -> None:
    assert parse_eps(text) == radii


@pytest.mark.parametrize(
    ("text", "message", "kind"),
    [
        ("", "eps: '' is not a number or a fraction such as 8/255.", SpecError),
        ("a", "eps: 'a' is not a number or a fraction such as 8/255.", SpecError),
        ("1/0", "eps: '1/0' is not a number or a fraction such as 8/255.", SpecError),
        ("0.1:0.3", "eps: '0.1:0.3' is neither a number nor FIRST:LAST:STEP.", SpecError),
        ("0:1:2:3", "eps: '0:1:2:3' is neither a number nor FIRST:LAST:STEP.", SpecError),
        ("0.3:0.1:0.1", "eps: '0.3:0.1:0.1' needs FIRST <= LAST and STEP > 0.", SpecError),
        ("0:0.3:0", "eps: '0:0.3:0' needs FIRST <= LAST and STEP > 0.", SpecError),
        ("0:0.3:-0.1", "eps: '0:0.3:-0.1' needs FIRST <= LAST and STEP > 0.", SpecError),
        ("0:inf:1", "eps: '0:inf:1' needs FIRST <= LAST and STEP > 0.", SpecError),
        ("0:1:0.0001", "eps: '0:1:0.0001' are 10,001 values, more than 1,000.", SpecError),
        ("-0.1", "eps must be at least 0, got -0.1.", ParameterError),
        ("-0.1:0.1:0.1", "eps must be at least 0, got -0.1.", ParameterError),
        ("nan", "eps must be at least 0, got nan.", ParameterError),
        ("inf", "eps must be at least 0, got inf.", ParameterError),
    ],
)
def test_says_what_is_wrong_with_radii(text: str, message: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        parse_eps(text)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=6))
def test_numbers_written_out_are_read_back_exactly(values: list[float]) -> None:
    assert parse_eps(",".join(map(repr, values))) == tuple(sorted(set(values)))


def test_reads_radii_of_one_norm_and_of_every() -> None:
    assert parse_eps_by_norm(["0.1", "l2=0.5,1"]) == {"": (0.1,), "l2": (0.5, 1.0)}


def test_radii_of_the_same_norm_add_up() -> None:
    assert parse_eps_by_norm(["0.3", "0.1", "l2=1", "l2=0.5"]) == {"": (0.1, 0.3), "l2": (0.5, 1.0)}


@pytest.mark.parametrize("norm", ["l3", ""])
def test_names_the_norms(norm: str) -> None:
    text = f"{norm}=0.1"
    message = f"eps: unknown norm '{norm}' in '{text}': linf, l2, l1, l0 can bound an attack."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        parse_eps_by_norm([text])


def test_usual_radii() -> None:
    assert default_eps("linf", GRAY) == (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
    assert default_eps("linf", COLOR) == tuple(n / 255 for n in (1, 2, 4, 8, 16))
    assert default_eps("linf", (3, 224, 224)) == default_eps("linf", COLOR)
    assert default_eps("l2", COLOR) == (0.125, 0.25, 0.5, 1.0, 2.0)
    larger = default_eps("l2", (3, 64, 64))  # twice the side: twice the length for the same change per value
    assert larger == (0.25, 0.5, 1.0, 2.0, 4.0)
    assert default_eps("l1", (3, 64, 64)) == tuple(4 * eps for eps in default_eps("l1", COLOR))
    assert all(math.isfinite(eps) and eps > 0 for norm in ("l1", "l2", "linf") for eps in default_eps(norm, GRAY))


@pytest.mark.parametrize(
    ("text", "specs"),
    [
        ("fgsm", ["fgsm"]),
        ("fgsm,pgd", ["fgsm", "pgd"]),
        ("fgsm, pgd:steps=20,norm=l2 ,fgm", ["fgsm", "pgd:steps=20,norm=l2", "fgm"]),
        ("pgd,steps=20", ["pgd:steps=20"]),
        ("pgd:step=(1/255),fgsm", ["pgd:step=(1/255)", "fgsm"]),
        ("", [""]),
    ],
)
def test_splits_attacks(text: str, specs: list[str]) -> None:
    assert split_attacks(text) == specs


def test_every_attack_gets_its_radii() -> None:
    grids = attack_grids(["fgsm", "fgm", "pgd:steps=5"], {"l2": (0.0, 0.5), "": (0.2, 0.1)}, GRAY)
    assert [(grid.label, grid.norm, grid.eps) for grid in grids] == [
        ("fgsm", "linf", (0.1, 0.2)),
        ("fgm", "l2", (0.5,)),
        ("pgd:steps=5", "linf", (0.1, 0.2)),
    ]
    assert grids[0].attacks == (FGSM(eps=0.1), FGSM(eps=0.2))


def test_a_spec_may_name_its_radius_and_an_attack_has_its_own() -> None:
    grids = attack_grids(["fgsm:eps=0.2", "pgd", PGD(eps=0.1, steps=3)], {}, GRAY)
    assert [grid.eps for grid in grids] == [(0.2,), default_eps("linf", GRAY), (0.1,)]


def test_an_unrestricted_attack_has_no_radii() -> None:
    darker, step = attack_grids([Darken(share=0.5), "fgsm"], {"": (0.1,)}, GRAY)
    assert (darker.label, darker.norm, darker.eps, darker.attacks) == (
        "darken:share=0.5", UNRESTRICTED, (), (Darken(share=0.5),)
    )  # fmt: skip
    assert step.eps == (0.1,)
    assert specs_and_eps((darker, step)) == (["darken:share=0.5", "fgsm"], {"linf": (0.1,)})
    for eps in ({"": (0.1,)}, {"l2": (0.1,)}):
        norm = next(iter(eps)) or "any norm"
        with pytest.raises(SpecError, match=f"^eps: no attack is in {norm}; those asked for have no radius.$"):
            attack_grids([Darken()], eps, GRAY)


def test_a_minimum_norm_attack_is_run_once_for_its_radii() -> None:
    near, pixels, steps = attack_grids(["ddn", "fmn:norm=l0", "pgd:norm=l2"], {"l2": (0.5, 1.0)}, GRAY)
    assert (near.norm, near.eps, near.attacks) == ("l2", (0.5, 1.0), (DDN(),))
    assert (pixels.norm, pixels.eps) == ("l0", default_eps("l0", GRAY))
    assert len(steps.attacks) == 2
    assert specs_and_eps((near, pixels, steps)) == (
        ["ddn", "fmn:norm=l0", "pgd:norm=l2"], {"l2": (0.5, 1.0), "l0": pixels.eps}
    )  # fmt: skip
    assert specs_and_eps(attack_grids(["ddn", "pgd:norm=l2,eps=0.5"], {}, GRAY)) == (
        ["ddn", "pgd:norm=l2,eps=0.5"], {}
    )  # fmt: skip


def test_names_without_radii() -> None:
    assert without_eps(PGD(eps=0.3, steps=5)) == "pgd:steps=5"
    assert without_eps(FGSM(eps=0.3)) == "fgsm"
    assert norm_of(FGSM()) == "linf"
    assert norm_of(PGD(norm="l2")) == norm_of(DDN()) == "l2"


@pytest.mark.parametrize(
    ("attacks", "eps", "message", "kind"),
    [
        ([], {}, f"no attack is given; there are {', '.join(ATTACKS)}.", SpecError),
        (["fgsm", "fgsm"], {}, "the attack 'fgsm' is given twice.", SpecError),
        (
            ["fgsm:eps=0.1", "fgsm:eps=0.2"],
            {},
            "the attack 'fgsm' is given twice. Several radii of one attack: --eps 0.1,0.2.",
            SpecError,
        ),
        (["pgdd"], {}, "unknown attack 'pgdd'. Did you mean pgd, apgd, ddn? 'foolscope attacks' lists all.", SpecError),
        (
            ["pgd:stps=3"],
            {},
            "pgd has no parameter 'stps'. Did you mean steps, step, eps? 'foolscope attacks pgd' lists all.",
            SpecError,
        ),
        (["fgsm"], {"l2": (1.0,)}, "eps: no attack is in l2; those asked for are in linf.", SpecError),
        (
            ["fgsm"],
            {"": (0.0,)},
            "fgsm: no radius above 0 is given; 0 is the clean accuracy, always shown.",
            ParameterError,
        ),
        (["pgd:eps=-1"], {}, "pgd: eps must be between 0 and 1e+06, got -1.", ParameterError),
    ],
)
def test_says_what_is_wrong_with_attacks(
    attacks: list[str], eps: dict[str, tuple[float, ...]], message: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        attack_grids(attacks, eps, GRAY)


@pytest.mark.parametrize(
    ("attacks", "eps"),
    [
        (["fgsm", "pgd:steps=3"], {}),
        (["fgsm", "fgm", "pgd:norm=l2"], {"": (0.1, 0.2)}),
        (["fgsm", "fgm"], {"l2": (0.5,), "": (0.1,)}),
        (["fgsm:eps=0.1", "pgd:steps=3"], {}),
        (["fgsm:eps=8/255", "pgd:eps=0.1", "fgm"], {}),
        (["fgsm:eps=0.1", "pgd:eps=0.1"], {}),
        (["pgd:eps=0.1,steps=2", "bim", "fgsm"], {}),
    ],
)
@pytest.mark.parametrize("shape", [GRAY, COLOR])
def test_what_is_written_down_gives_the_same_grids(
    attacks: list[str], eps: dict[str, tuple[float, ...]], shape: tuple[int, ...]
) -> None:
    def content(grids: tuple[AttackGrid, ...]) -> list[object]:
        return [grid.attacks for grid in grids]

    grids = attack_grids(attacks, eps, shape)
    again = attack_grids(*specs_and_eps(grids), shape)
    assert content(again) == content(grids)


@pytest.mark.parametrize("eps", [{"": (0.2,)}, {"linf": (0.2,)}])
def test_radii_by_spec_and_by_option_are_refused(eps: dict[str, tuple[float, ...]]) -> None:
    message = "'fgsm:eps=0.1' names its own eps, and so does --eps: leave one of the two out."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        attack_grids(["fgsm:eps=0.1"], eps, GRAY)
    (_, other) = attack_grids(["fgsm:eps=0.1", "fgm"], {"l2": (0.5,)}, GRAY)
    assert other.eps == (0.5,)
