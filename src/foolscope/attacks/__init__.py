"""Attacks: frozen dataclasses of hyperparameters, called with a model, images and a goal."""

from __future__ import annotations

from foolscope.attacks.agv.per_image import AGV
from foolscope.attacks.apgd import APGD
from foolscope.attacks.attack import Attack, AttackResult, Progress, Watch
from foolscope.attacks.carlini_wagner import CarliniWagner
from foolscope.attacks.ddn import DDN
from foolscope.attacks.deepfool import DeepFool
from foolscope.attacks.ensemble import Ensemble
from foolscope.attacks.filter import FilterAttack
from foolscope.attacks.fmn import FMN
from foolscope.attacks.goal import Goal, Targeted, Untargeted
from foolscope.attacks.gradient import BIM, FGM, FGSM, PGD
from foolscope.attacks.square import Square
from foolscope.registry import Registry
from foolscope.spec import Spec, parse_spec

_GRADIENT: tuple[type[Attack], ...] = (FGM, FGSM, BIM, PGD, APGD)
_NEAREST: tuple[type[Attack], ...] = (DeepFool, CarliniWagner, DDN, FMN)
_ALL: tuple[type[Attack], ...] = (*_GRADIENT, *_NEAREST, Ensemble, Square, FilterAttack, AGV)

ATTACKS: Registry[type[Attack]] = Registry("attack", "foolscope attacks", {attack.name: attack for attack in _ALL})


def parse_attack(spec: str | Spec) -> Attack:
    """The attack that a spec such as `pgd:eps=8/255,steps=40` names.  Raises `SpecError` or `ParameterError`."""
    parsed = parse_spec(spec) if isinstance(spec, str) else spec
    return ATTACKS[parsed.name].from_spec(parsed)


__all__ = [
    "AGV",
    "APGD",
    "ATTACKS",
    "BIM",
    "DDN",
    "FGM",
    "FGSM",
    "FMN",
    "PGD",
    "Attack",
    "AttackResult",
    "CarliniWagner",
    "DeepFool",
    "Ensemble",
    "FilterAttack",
    "Goal",
    "Progress",
    "Square",
    "Targeted",
    "Untargeted",
    "Watch",
    "parse_attack",
]
