"""The attacks of an audit: on which network each runs, and who is shown what it made.

A defense's number is that of the attack that hurts it most, so each defense meets all of these, whatever gradient its
spec names (Athalye, Carlini and Wagner 2018, arXiv 1802.00420; Carlini et al. 2019, arXiv 1902.06705):

- `oblivious`: what fools the plain network;
- `straight-through`: the gradient that takes the identity's derivative for a transform that has none (BPDA);
- `differentiable`: the gradient through its smooth stand-in, or its own;
- `... + eot`: either as the mean over draws, where the defense draws random numbers;
- `black box`: attacks that ask for no gradient, which none of its tricks can mislead.

Where nobody asks for a black-box attack with a radius in the norm of a gradient attack, Square stands in, at the
reference radius alone: it tells whether gradients can be followed at all, for the price of one more iterated attack.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from foolscope.attacks import Attack, Square
from foolscope.attacks.attack import LOOKS
from foolscope.data import ImageSet
from foolscope.defenses import parse_defense
from foolscope.experiments.cells import PLAIN, AttackJob, Subject
from foolscope.experiments.examined import ExaminationJob, reference_radius
from foolscope.experiments.grid import AttackGrid, eps_of
from foolscope.models.engine import Precision

NONE, OBLIVIOUS, BLACK_BOX = "none", "oblivious", "black box"
_EOT = " + eot"

MODES = (
    NONE,
    OBLIVIOUS,
    "straight-through",
    f"straight-through{_EOT}",
    "differentiable",
    f"differentiable{_EOT}",
    BLACK_BOX,
)
"""How an attack meets a network: without a defense, not knowing of it, then all that know of it."""

_OF_SQUARE = ("linf", "l2")


def is_adaptive(mode: str) -> bool:
    """Whether an attack in this mode knows of the defense."""
    return mode in MODES[2:]


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """An attack to run and how the networks that are shown its result, the audit's `victims`, meet it.

    The network that is attacked may have another gradient than the audit's, but gives the same answers.
    """

    job: AttackJob
    victims: tuple[str, ...]
    mode: str

    @property
    def passes(self) -> int:
        """Forward-and-backward passes that an image takes at most, with the look at the saved one.

        Where random numbers are drawn, the looks that say whether an image is finished come on top.
        """
        attack, looks = self.job.attack, 0
        if self.job.source and parse_defense(self.job.source).random:
            looks = (LOOKS - 1) * (attack.passes if attack.minimum_norm else 1)
        return 1 + attack.passes * (self.job.eot if attack.needs_gradients else 1) + looks

    @property
    def label(self) -> str:
        """What is run, in a line."""
        if self.mode == NONE:
            return f"{self.job.attack.spec()} on the plain network"
        return f"{self.job.attack.spec()} on {', '.join(self.victims)} ({self.mode})"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What to audit: the model with its engines, images, attacks with their radii, and defenses (specs).

    `companions` are the black-box attacks that meet each defense and nothing else; `explanations` are methods that give
    maps, by which the strongest attack on the plain network is explained.
    """

    subject: Subject
    data: ImageSet
    grids: tuple[AttackGrid, ...]
    defenses: tuple[str, ...]
    seed: int
    precision: Precision
    companions: tuple[AttackGrid, ...] = ()
    examinations: tuple[ExaminationJob, ...] = ()
    explanations: tuple[str, ...] = ()

    @property
    def victims(self) -> tuple[str, ...]:
        """The plain network, then each defense."""
        return (PLAIN, *self.defenses)

    def meetings(self) -> list[Meeting]:
        """Every attack at every radius: on the plain network, oblivious of the defenses, and on each defense.

        Minimum-norm attacks are not run obliviously: what lies just across the plain network's boundary would flatter
        every defense.
        """
        found = [self._meeting(attack, PLAIN, (PLAIN,), NONE) for attack in self._attacks()]
        if self.defenses:
            found += [
                self._meeting(attack, PLAIN, self.defenses, OBLIVIOUS)
                for attack in self._attacks()
                if not attack.minimum_norm
            ]
        return [*found, *(meeting for defense in self.defenses for meeting in self._adaptive(defense))]

    def _attacks(self) -> list[Attack]:
        return [attack for grid in self.grids for attack in grid.attacks]

    def _adaptive(self, defense: str) -> list[Meeting]:
        """The attacks that know of a defense: along each of its gradients, its own first, and along none."""
        gradients = adaptive_sources(defense) if self.subject.engines[PLAIN].info.differentiable else {}
        found = [
            self._meeting(attack, source, (defense,), mode + (_EOT if self.subject.engines[source].draws > 1 else ""))
            for mode, source in gradients.items()
            for attack in self._attacks()
            if attack.needs_gradients
        ]
        blind = [attack for attack in self._attacks() if not attack.needs_gradients]
        blind += [attack for grid in self.companions for attack in grid.attacks]
        return [*found, *(self._meeting(attack, defense, (defense,), BLACK_BOX) for attack in blind)]

    def _meeting(self, attack: Attack, source: str, victims: tuple[str, ...], mode: str) -> Meeting:
        """Of a network behind a defense the image is shown to itself alone: `victims` has its name in the audit."""
        job = AttackJob(
            attack=attack, source=source, victims=(source,) if source else victims, seed=self.seed,
            precision=self.precision, eot=self.subject.engines[source].draws,
        )  # fmt: skip
        return Meeting(job=job, victims=victims, mode=mode)

    def radii(self, attack: Attack) -> tuple[float | None, ...]:
        """The radii that one run of an attack is told at; (None,) of an unrestricted one."""
        if not attack.minimum_norm:
            return (eps_of(attack),)
        return next(grid.eps for grid in self.grids if grid.attack == attack)


def adaptive_sources(defense: str) -> dict[str, str]:
    """The specs of a defense with each gradient that an adaptive attack tries, by the mode; its own gradient first."""
    found = {mode: variant.spec() for mode, variant in parse_defense(defense).variants().items()}
    return dict(sorted(found.items(), key=lambda entry: entry[1] != defense))


def distinct(defenses: Iterable[str]) -> tuple[str, ...]:
    """The canonical specs of the defenses, each once.

    Those that differ in their gradient alone are one, since an audit tries every gradient; one that lets none pass
    stays apart.
    """
    found: dict[tuple[str, ...], str] = {}
    for text in defenses:
        defense = parse_defense(text)
        same = tuple(variant.spec() for variant in defense.variants().values()) or (defense.spec(),)
        found.setdefault(same, defense.spec())
    return tuple(found.values())


def companions(grids: Iterable[AttackGrid], queries: int) -> tuple[AttackGrid, ...]:
    """Square at the reference radius of each norm that has gradient attacks and no black-box one.

    None with 0 `queries`, and in norms that Square does not know.
    """
    by_norm: dict[str, list[AttackGrid]] = {}
    for grid in grids:
        by_norm.setdefault(grid.norm, []).append(grid)
    found = []
    for norm, mine in by_norm.items():
        if queries and norm in _OF_SQUARE and all(grid.attack.needs_gradients for grid in mine):
            eps = reference_radius(norm, sorted({value for grid in mine for value in grid.eps}))
            found.append(AttackGrid(Square(norm=norm, queries=queries, eps=eps), (eps,)))
    return tuple(found)
