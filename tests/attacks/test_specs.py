"""Attacks as specs: both ways, and errors that teach."""

from __future__ import annotations

import re

import pytest

from foolscope.attacks import ATTACKS, BIM, FGM, FGSM, PGD, Attack, parse_attack
from foolscope.errors import ParameterError, SpecError


@pytest.mark.parametrize(
    ("spec", "attack"),
    [
        ("fgsm", FGSM()),
        ("fgsm:eps=8/255", FGSM(eps=8 / 255)),
        ("fgm:eps=0.5,norm=l1", FGM(eps=0.5, norm="l1")),
        ("bim:steps=none", BIM()),
        (
            "PGD:eps=0.3,steps=7,random_start=false,early_stop=no",
            PGD(eps=0.3, steps=7, random_start=False, early_stop=False),
        ),
    ],
)
def test_specs(spec: str, attack: Attack) -> None:
    assert parse_attack(spec) == attack
    assert parse_attack(attack.spec()) == attack


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("pdg", SpecError, "unknown attack 'pdg'. Did you mean pgd, apgd? 'foolscope attacks' lists all."),
        (
            "pgd:epz=1",
            SpecError,
            "pgd has no parameter 'epz'. Did you mean eps, step, steps? 'foolscope attacks pgd' lists all.",
        ),
        ("pgd:eps=-1/255", ParameterError, "pgd: eps must be between 0 and 1e+06, got -1/255."),
        ("pgd:eps=nan", ParameterError, "pgd: eps must be between 0 and 1e+06, got nan."),
        ("pgd:steps=0", ParameterError, "pgd: steps must be at least 1, got 0."),
        ("pgd:restarts=1.5", SpecError, "pgd: restarts: '1.5' is not a whole number."),
        ("fgm:norm=l7", ParameterError, "fgm: norm must be one of l1, l2, linf, got 'l7'."),
        ("fgsm:8/255", SpecError, "malformed spec 'fgsm:8/255': '8/255' is not KEY=VALUE."),
    ],
)
def test_bad_specs(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        parse_attack(spec)


def test_every_attack_says_what_it_is() -> None:
    for name, attack in ATTACKS.items():
        assert attack.name == name
        assert attack.summary
        assert "arXiv" in attack.source or "doi" in attack.source
        assert attack().passes >= 1
