"""How an audit is worked through: cell by cell, taking what the store holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foolscope.attacks import Progress
from foolscope.data import ImageSet
from foolscope.experiments import explained as explaining
from foolscope.experiments.audit_jobs import Audit, Meeting, is_adaptive
from foolscope.experiments.cells import PLAIN, SAMPLES, block_rows, clean_cell, clean_spec
from foolscope.experiments.examined import LIMIT, PASSES, ExaminationJob, Examined
from foolscope.experiments.explained import Explained
from foolscope.experiments.grid import eps_of, norm_of, without_eps
from foolscope.experiments.results import Record, Sample
from foolscope.experiments.store import Store
from foolscope.masking import Examination

_CLEAN_PASSES = 3
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class AuditProgress:
    """Where an audit stands.  `passes` counts the work that is done, in passes over an image, out of `total_passes`.

    `reused` cells of `cells` were on the store already.  `attack` is the running attack's own progress.
    """

    label: str
    done: int
    cells: int
    reused: int
    passes: float
    total_passes: float
    attack: Progress | None = None


AuditWatch = Callable[[AuditProgress], None]


NDArrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the cells of an audit hold; `clean` are the arrays a block."""

    clean: list[NDArrays]
    records: list[Record]
    samples: list[Sample]
    examinations: list[Examined]
    explained: Explained | None


class Runner:
    """Walks through the cells of one audit."""

    def __init__(self, audit: Audit, store: Store, watch: AuditWatch | None) -> None:
        self.audit, self.store, self.watch = audit, store, watch
        self.meetings, self.blocks = audit.meetings(), block_rows(audit.data)
        self.cells = len(self.blocks) * (1 + len(self.meetings)) + len(audit.examinations) + len(audit.explanations)
        self.examined = PASSES * min(LIMIT, len(audit.data))
        per_image = _CLEAN_PASSES + sum(meeting.passes for meeting in self.meetings)
        self.total_passes = float(per_image * len(audit.data) + len(audit.examinations) * self.examined)
        self.total_passes += len(audit.explanations) * explaining.PASSES
        self.done = self.reused = 0
        self.passes = 0.0

    def run(self) -> Found:
        self.store.check()
        clean = []
        for rows in self.blocks:
            block = self.audit.data.rows(rows)
            clean.append(self._clean(block))
            self._finished("clean accuracy", _CLEAN_PASSES * len(block))
        records: list[Record] = []
        samples: list[Sample] = []
        for meeting in self.meetings:
            parts, seconds = [], 0.0
            for rows in self.blocks:
                arrays, cost = self._attack(meeting, self.audit.data.rows(rows), first=rows.start == 0)
                if rows.start == 0 and not _shown_before(samples, meeting):
                    samples += self._samples(meeting, arrays, clean[0])
                parts.append({name: value for name, value in arrays.items() if not name.startswith("sample_")})
                seconds += cost
            records += self._records(meeting, joined(parts), joined(clean), seconds)
        examinations = [self._examine(job) for job in self.audit.examinations]
        explained = self._explain(records, clean[0]) if self.audit.explanations else None
        return Found(clean=clean, records=records, samples=samples, examinations=examinations, explained=explained)

    def _examine(self, job: ExaminationJob) -> Examined:
        spec, label = job.spec(self.audit.subject, self.audit.data), f"examining {job.victim or 'the plain network'}"
        if (cell := self.store.load(spec)) is None:
            found = job.run(self.audit.subject, self.audit.data, lambda p: self._tell(f"{label}: {p.attack}"))
            self.store.save(spec, {}, found.to_dict())
        else:
            found = Examination.from_dict(cell.info)
            self.reused += 1
        self._finished(label, self.examined)
        return Examined(defense=job.victim, examination=found)

    def _explain(self, records: list[Record], clean: NDArrays) -> Explained:
        """What the strongest attack did to where the plain network looks."""
        record = explaining.strongest(records)
        job = next(m.job for m in self.meetings if m.mode == record.mode and m.job.attack == record.attack)

        def done(method: str, there: bool) -> None:
            self.reused += there
            self._finished(f"explaining {record.attack.spec()} by {method}", explaining.PASSES)

        return explaining.explained(
            self.audit.explanations, record, job, torch.from_numpy(clean["prediction_0"]), self.audit.subject,
            self.audit.data.rows(self.blocks[0]), self.store, done,
        )  # fmt: skip

    def _clean(self, block: ImageSet) -> NDArrays:
        spec = clean_spec(self.audit.subject, block, self.audit.victims)
        if (cell := self.store.load(spec)) is None:
            arrays = clean_cell(self.audit.subject, block, self.audit.victims)
            self.store.save(spec, arrays, {})
            return arrays
        self.reused += 1
        return cell.arrays

    def _attack(self, meeting: Meeting, block: ImageSet, *, first: bool) -> tuple[NDArrays, float]:
        job, cost = meeting.job, meeting.passes * len(block)
        spec = job.spec(self.audit.subject, block, keeps_samples=first)
        if (cell := self.store.load(spec)) is None:
            arrays, info = job.run(self.audit.subject, block, first, lambda p: self._tell(meeting.label, p, cost))
            self.store.save(spec, arrays, info)
        else:
            # Cells of earlier versions, which ended at the first gradient that was not finite, mark no image.
            arrays, info = {"broken": np.zeros(len(block), dtype=np.bool_), **cell.arrays}, cell.info
            self.reused += 1
        self._finished(meeting.label, cost)
        return arrays, float(info["seconds"])

    def _finished(self, label: str, passes: float) -> None:
        self.done += 1
        self.passes += passes
        self._tell(label)

    def _tell(self, label: str, attack: Progress | None = None, cost: float = 0.0) -> None:
        if self.watch:
            inside = (
                cost * attack.step / max(1, attack.steps) * (attack.done + attack.active) / attack.total
                if attack
                else 0.0
            )
            progress = AuditProgress(
                label=label, done=self.done, cells=self.cells, reused=self.reused,
                passes=self.passes + inside, total_passes=self.total_passes, attack=attack,
            )  # fmt: skip
            self.watch(progress)

    def _records(self, meeting: Meeting, arrays: NDArrays, clean: NDArrays, seconds: float) -> list[Record]:
        """One record a victim and radius: its predictions beside what all share."""
        records: list[Record] = []
        attack = meeting.job.attack
        for number, victim in enumerate(meeting.victims):
            shared = {name: value for name, value in arrays.items() if not name.startswith("prediction_")}
            own = {
                "prediction": arrays[f"prediction_{number}"],
                "prediction_saved": arrays[f"prediction_saved_{number}"],
            }
            untouched = clean[f"prediction_{self.audit.victims.index(victim)}"]
            whole = Record(
                attack=attack, source=meeting.job.source, victim=victim, mode=meeting.mode, arrays=shared | own,
                seconds=seconds, eps=None,
            )  # fmt: skip
            records += [
                whole.within(eps, untouched) if eps is not None and attack.minimum_norm else replace(whole, eps=eps)
                for eps in self.audit.radii(attack)
            ]
        return records

    def _samples(self, meeting: Meeting, arrays: NDArrays, clean: NDArrays) -> list[Sample]:
        """The first images that the attacked network classifies right untouched, with every victim's predictions."""
        attack, source = meeting.job.attack, meeting.victims[0] if meeting.job.source else PLAIN
        answers = {name: clean[f"prediction_{place}"] for place, name in enumerate(self.audit.victims)}
        right = answers[source][:SAMPLES] == clean["label"][:SAMPLES]
        return [
            Sample(
                index=int(index),
                label=int(arrays["label"][index]),
                attack=attack.spec(),
                eps=eps_of(attack),
                source=source,
                image=arrays["sample_images"][index],
                adversarial=arrays["sample_adversarial"][index],
                clean_predictions={victim: int(answers[victim][index]) for victim in meeting.victims},
                predictions={v: int(arrays[f"prediction_{n}"][index]) for n, v in enumerate(meeting.victims)},
            )
            for index in np.flatnonzero(right)[:_SHOWN]
        ]


def _shown_before(samples: list[Sample], meeting: Meeting) -> bool:
    """Whether the attack is shown on this network along another gradient: the pictures would hardly differ."""
    return is_adaptive(meeting.mode) and any(
        (sample.source, sample.attack) == (meeting.victims[0], meeting.job.attack.spec()) for sample in samples
    )


def joined(parts: list[NDArrays]) -> NDArrays:
    """The arrays of all blocks, one behind the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True, kw_only=True)
class Step:
    """What an audit is going to do: an attack at all its radii, as some networks meet it.

    `passes` is what an image costs at most, of `cells` so many are `done`.
    """

    attack: str
    norm: str
    eps: tuple[float, ...]
    victims: tuple[str, ...]
    mode: str
    passes: int
    cells: int
    done: int


def steps(audit: Audit, store: Store) -> list[Step]:
    """What the audit is going to do besides clean accuracy, examinations and explanations; nothing is computed."""
    store.check()
    blocks = [audit.data.rows(rows) for rows in block_rows(audit.data)]
    groups: dict[tuple[str, tuple[str, ...], str], list[Meeting]] = {}
    for meeting in audit.meetings():
        groups.setdefault((without_eps(meeting.job.attack), meeting.victims, meeting.mode), []).append(meeting)
    found = []
    for (attack, victims, mode), meetings in groups.items():
        specs = [
            meeting.job.spec(audit.subject, block, keeps_samples=not place)
            for meeting in meetings
            for place, block in enumerate(blocks)
        ]
        radii = [eps for meeting in meetings for eps in audit.radii(meeting.job.attack) if eps is not None]
        found.append(
            Step(
                attack=attack,
                norm=norm_of(meetings[0].job.attack),
                eps=tuple(radii),
                victims=victims,
                mode=mode,
                passes=sum(meeting.passes for meeting in meetings),
                cells=len(specs),
                done=sum(spec in store for spec in specs),
            )
        )
    return found
