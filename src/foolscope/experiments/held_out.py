"""Chains of filters on images that no search has seen: cells on the store, and the shares read out of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foolscope.attacks.agv import DISTANCES, Candidate
from foolscope.data import ImageSet
from foolscope.defenses.detector import CalibratedDetector
from foolscope.experiments.cells import block_rows
from foolscope.experiments.evolved import Clean, Found, Judged, Searched
from foolscope.experiments.store import Store
from foolscope.filters import Chain
from foolscope.images import quantize
from foolscope.measure import Proportion, accuracy, distances, mean_interval
from foolscope.models.engine import Engine
from foolscope.models.fingerprint import model_digest

USUAL = ("linf", "l2", "ssim")
"""The distances that are always judged; `ssim` is the similarity itself."""

NDArrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Witness:
    """A model that chains are shown to, with the detector that was calibrated for it.

    `role` is 'searched' of a model that the search asked, 'transfer' of one that it never saw.
    """

    name: str
    role: str
    engine: Engine
    digest: str
    detector: CalibratedDetector | None

    @classmethod
    def of(cls, name: str, role: str, engine: Engine, detector: CalibratedDetector | None) -> Witness:
        """With the digest of the engine's model."""
        return cls(name=name, role=role, engine=engine, digest=model_digest(engine.model), detector=detector)


class HeldOut:
    """Judges chains on `data`, with `distances` beside the usual ones; finished cells are kept in `store`."""

    def __init__(
        self, data: ImageSet, witnesses: Sequence[Witness], store: Store, distances: Sequence[str] = ()
    ) -> None:
        self.data, self.witnesses, self.store = data, tuple(witnesses), store
        self.others = tuple(name for name in distances if name not in USUAL and name in DISTANCES)
        self.blocks = [data.rows(rows) for rows in block_rows(data)]
        self._clean = [self._everywhere(None, witness) for witness in self.witnesses]

    def clean(self) -> tuple[Clean, ...]:
        """Every witness on the untouched images."""
        return tuple(
            Clean(
                model=witness.name,
                role=witness.role,
                accuracy=_share(arrays["prediction"] == arrays["label"]),
                detection=_detection(witness, arrays),
                threshold=witness.detector.threshold if witness.detector else None,
            )
            for witness, arrays in zip(self.witnesses, self._clean, strict=True)
        )

    def found(self, chain: Chain, candidate: Candidate | None = None) -> Found:
        """A chain as every witness sees it; `candidate` is what a search knew of it."""
        seen = [self._everywhere(chain, witness) for witness in self.witnesses]
        threes = zip(self.witnesses, self._clean, seen, strict=True)
        return Found(
            chain=chain,
            searched=_searched(candidate),
            distances={name: mean_interval(torch.from_numpy(seen[0][name])) for name in (*USUAL, *self.others)},
            judged=tuple(_judged(witness, clean, filtered) for witness, clean, filtered in threes),
        )

    def _everywhere(self, chain: Chain | None, witness: Witness) -> NDArrays:
        parts = [self._cell(chain, witness, block) for block in self.blocks]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _cell(self, chain: Chain | None, witness: Witness, block: ImageSet) -> NDArrays:
        measured = (*USUAL, *self.others) if witness is self.witnesses[0] else ()  # they do not depend on the model
        spec = {
            "kind": "filtered",
            "chain": chain and chain.spec(),
            "model": witness.digest,
            "data": block.digest,
            "detector": witness.detector and witness.detector.detector.spec(),
            "distances": list(measured),
        }
        if (cell := self.store.load(spec)) is not None:
            return cell.arrays
        arrays = _filtered(chain, witness, block, measured)
        self.store.save(spec, arrays, {})
        return arrays


def _searched(candidate: Candidate | None) -> Searched | None:
    if candidate is None:
        return None
    names = ("asr", "asr_clean", "detection", "step", "queries")
    return Searched(**{name: getattr(candidate, name) for name in names})


def _filtered(chain: Chain | None, witness: Witness, block: ImageSet, measured: Sequence[str]) -> NDArrays:
    """The arrays of a cell: predictions on filtered images and on what 8 bits keep of them, scores, distances."""
    images, engine = block.images, witness.engine
    filtered = images if chain is None else chain(images)
    logits = engine.logits(filtered)
    arrays = {"label": block.labels, "prediction": logits.argmax(1)}
    if witness.detector:
        arrays["score"] = witness.detector.score(engine, filtered, logits.softmax(1))
    if chain is not None:
        arrays["prediction_saved"] = engine.predict(quantize(filtered))
        if measured:
            far = vars(distances(images, filtered))
            arrays |= {name: far[name] if name in USUAL else DISTANCES[name](images, filtered) for name in measured}
    return {name: value.numpy() for name, value in arrays.items()}


def _judged(witness: Witness, clean: NDArrays, filtered: NDArrays) -> Judged:
    right = clean["prediction"] == clean["label"]
    wrong, wrong_saved = (filtered[name] != clean["label"] for name in ("prediction", "prediction_saved"))
    return Judged(
        model=witness.name,
        accuracy=_share(~wrong),
        asr=_share(wrong[right]),
        asr_clean=_share(filtered["prediction"] != clean["prediction"]),
        detection=_detection(witness, filtered),
        saved=_share(wrong_saved[right & wrong]),
    )


def _detection(witness: Witness, arrays: NDArrays) -> Proportion | None:
    return _share(arrays["score"] > witness.detector.threshold) if witness.detector else None


def _share(flags: NDArray[np.bool_]) -> Proportion:
    return accuracy(torch.from_numpy(flags))
