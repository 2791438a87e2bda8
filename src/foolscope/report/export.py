"""The results as data: JSON with every curve, and a table with one row for every image, attack, radius and network.

`docs/results.md` describes both.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foolscope.attacks import Attack
from foolscope.experiments.examined import Examined
from foolscope.experiments.explained import Explained
from foolscope.experiments.grid import eps_of, norm_of, without_eps
from foolscope.experiments.results import Curve, Outcome, Point, Record, Results, Sample, Strongest, WeakestCurve
from foolscope.measure import Mean, Proportion

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = "foolscope-audit/2"
"""The name of what `to_json` and `to_table` give; it changes when a key or column changes its meaning."""


def to_json(results: Results) -> dict[str, Any]:
    """The results as a value that JSON can hold, without NaN and infinities.

    What depends on time stands under `timing` alone: all else is equal for two runs of the same audit.
    """
    return {
        "schema": SCHEMA,
        "about": results.about,
        "class_names": None if results.class_names is None else list(results.class_names),
        "warnings": [
            {"code": w.code, "message": w.message, "evidence": {k: _finite(v) for k, v in w.evidence.items()}}
            for w in results.warnings
        ],
        "clean": [
            {
                "defense": victim,
                "accuracy": proportion(results.clean_accuracy(victim)),
                "per_class": [
                    {"class_name": name, "accuracy": proportion(share)}
                    for name, share in results.class_accuracy(victim)
                ],
            }
            for victim in results.victims
        ],
        "curves": [_curve(curve) for curve in results.curves],
        "unrestricted": [
            {"attack": u.attack, "defense": u.defense, "mode": u.mode, **_outcome(u.outcome)}
            for u in results.unrestricted
        ],
        "weakest": [_weakest(curve) for curve in results.weakest],
        "examinations": [_examination(examined) for examined in results.examinations],
        "explained": None if results.explained is None else _explained(results, results.explained),
        "samples": [_sample(sample, results.place(sample.index)) for sample in results.samples],
        "timing": timing(results),
    }


def timing(results: Results) -> dict[str, Any]:
    """Seconds that each attack took at each radius, and all of them together."""
    runs = attack_runs(results)
    return {
        "seconds": sum(record.seconds for record in runs),
        "attacks": [
            {
                "attack": without_eps(run.attack),
                "eps": eps_of(run.attack),
                "mode": run.mode,
                "defense": run.victim if run.source else "",
                "seconds": run.seconds,
            }
            for run in runs
        ],
    }


def attack_runs(results: Results) -> list[Record]:
    """One record a run of an attack: what an oblivious attack found is shown to all defenses, and was run once."""
    runs: dict[tuple[Attack, str, str], Record] = {}
    for record in results.records:
        runs.setdefault((record.attack, record.source, record.mode), record)
    return list(runs.values())


def proportion(share: Proportion) -> dict[str, Any]:
    """A share with its counts and interval."""
    value = share.value if share.trials else None
    ends = {"low": share.low, "high": share.high}
    return {"successes": share.successes, "trials": share.trials, "value": value, **ends}


def _curve(curve: Curve) -> dict[str, Any]:
    return {
        "attack": curve.attack,
        "norm": curve.norm,
        "defense": curve.defense,
        "mode": curve.mode,
        "points": [_point(point) for point in curve.points],
    }


def _point(point: Point) -> dict[str, Any]:
    return {"eps": point.eps, **_outcome(point)}


def _outcome(found: Outcome) -> dict[str, Any]:
    return {
        "accuracy": proportion(found.accuracy),
        "success": proportion(found.success),
        "saved": proportion(found.saved),
        "distances": {name: _finite(value) for name, value in found.distances.items()},
        "forwards": found.forwards,
        "backwards": found.backwards,
    }


def _weakest(curve: WeakestCurve) -> dict[str, Any]:
    """A curve over all attacks has no distances and nothing that could be saved."""
    kept = ("eps", "accuracy", "success", "forwards", "backwards")
    points = [
        {key: value for key, value in _point(point).items() if key in kept} | {"strongest": _strongest(point.strongest)}
        for point in curve.points
    ]
    return {"norm": curve.norm, "defense": curve.defense, "points": points}


def _strongest(found: Strongest | None) -> dict[str, Any] | None:
    return None if found is None else {**vars(found), "accuracy": proportion(found.accuracy)}


def _sample(sample: Sample, place: int) -> dict[str, Any]:
    return {
        "index": place,
        "label": sample.label,
        "attack": sample.attack,
        "eps": sample.eps,
        "source": sample.source,
        "predictions": [
            {"defense": victim, "clean": sample.clean_predictions[victim], "attacked": prediction}
            for victim, prediction in sample.predictions.items()
        ],
    }


def _examination(examined: Examined) -> dict[str, Any]:
    """The verdict on one network, its shares written as all others are."""
    found = examined.examination
    shares = {name: proportion(getattr(found, name)) for name in ("clean", "accuracy", "lowest")}
    return {"defense": examined.defense, **found.to_dict(), **shares}


def _explained(results: Results, found: Explained) -> dict[str, Any]:
    """What the strongest attack does to the maps of every method, and where its noise falls."""
    return {
        "attack": found.attack,
        "looked_at": found.looked_at,
        "images": [results.place(index) for index in found.index.tolist()],
        "methods": [
            {
                "method": maps.method,
                "layer": maps.layer or None,
                "agreement": {name: _mean(mean) for name, mean in maps.agreement.means().items()},
                "null": {name: _mean(mean) for name, mean in maps.null.means().items()},
                "energy": [
                    {"pixels": share, **_mean(mean)}
                    for share, mean in zip(maps.energy.pixels.tolist(), maps.energy.means, strict=True)
                ],
            }
            for maps in found.maps
        ],
    }


def _mean(mean: Mean) -> dict[str, Any]:
    """A mean with its interval, None of each that is not finite."""
    return {"value": _finite(mean.value), "low": _finite(mean.low), "high": _finite(mean.high), "count": mean.count}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def to_table(results: Results) -> pa.Table:
    """One row an image, attack, radius, source and victim.  An infinite PSNR, that of equal images, is null."""
    import pyarrow as pa

    schema = _table_schema()
    parts = [pa.table(_columns(results, record), schema=schema) for record in results.records]
    return pa.concat_tables(parts) if parts else schema.empty_table()


def _table_schema() -> pa.Schema:
    import pyarrow as pa

    word = pa.dictionary(pa.int16(), pa.string())
    kinds: dict[str, pa.DataType] = {
        "index": pa.int32(),
        "label": pa.int32(),
        "clean_prediction": pa.int32(),
        "prediction": pa.int32(),
        "prediction_saved": pa.int32(),
        "attack": word,
        "norm": word,
        "eps": pa.float64(),
        "defense": word,
        "mode": word,
        "success": pa.bool_(),
        "l0": pa.int32(),
        **dict.fromkeys(("l1", "l2", "linf", "ssim", "psnr"), pa.float32()),
        "forwards": pa.int32(),
        "backwards": pa.int32(),
    }
    return pa.schema(list(kinds.items()), metadata={"schema": SCHEMA})


def _columns(results: Results, record: Record) -> dict[str, Any]:
    import pyarrow as pa

    arrays, count = record.arrays, len(results.clean["label"])
    fooled = results.clean_correct(record.victim) & ~results.still_correct(record)
    words = {
        "attack": without_eps(record.attack),
        "norm": norm_of(record.attack),
        "defense": record.victim,
        "mode": record.mode,
    }
    whole = ("prediction", "prediction_saved", "l0", "forwards", "backwards")
    psnr: NDArray[np.float32] = arrays["psnr"].astype(np.float32)
    return {
        "index": np.arange(count, dtype=np.int32) if results.origin is None else results.origin.astype(np.int32),
        "label": results.clean["label"].astype(np.int32),
        "clean_prediction": results.clean[f"prediction_{results.victims.index(record.victim)}"].astype(np.int32),
        "eps": pa.array([record.eps] * count, pa.float64()),
        "success": fooled.numpy(),
        **{name: arrays[name].astype(np.int32) for name in whole},
        **{name: arrays[name].astype(np.float32) for name in ("l1", "l2", "linf", "ssim")},
        "psnr": pa.array(psnr, mask=~np.isfinite(psnr)),
        **{name: _repeated(word, count) for name, word in words.items()},
    }


def _repeated(word: str, count: int) -> pa.Array[Any]:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int16), [word])
