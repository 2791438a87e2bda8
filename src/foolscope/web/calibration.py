"""Detectors with the threshold of their network, found on clean images at hand and kept on disk.

Feature squeezing compares its score with a threshold that belongs to one network (see `defenses.detector`).  It is
calibrated at 5 % false positives on one half of the data set that the network was trained for, in the background when
a score is first asked for, and kept in `FOOLSCOPE_HOME/web/detectors`.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from foolscope.defenses.detector import CalibratedDetector, FeatureSqueezing, halves
from foolscope.errors import FoolscopeError, StorageError
from foolscope.files import digest
from foolscope.images import from_uint8
from foolscope.models import ModelInfo
from foolscope.web.gallery import Gallery, Source
from foolscope.web.logs import LOGGER
from foolscope.web.networks import Network
from foolscope.web.pictures import picture_of
from foolscope.web.problems import BusyError
from foolscope.web.queues import Lane
from foolscope.web.views import seen

_RATE = 0.05
_MOST_IMAGES = 500


@dataclass(frozen=True)
class Calibration:
    """A network's detector, and whether it has a threshold, will have one, or there are no images to find it on."""

    detector: FeatureSqueezing
    state: Literal["calibrated", "calibrating", "none"]
    why: str
    """What was calibrated on, or what is missing."""

    def message(self, score: float) -> str:
        """A sentence on a score."""
        if self.detector.threshold is None:
            return f"Score {score:.3f}; {self.why}."
        side = "above" if score > self.detector.threshold else "not above"
        word = "Detected" if score > self.detector.threshold else "Not detected"
        return f"{word}: {score:.3f} is {side} the threshold {self.detector.threshold:.3f}; {self.why}."


class Calibrations:
    """The calibrations of all networks.  Its coroutine is the event loop's."""

    def __init__(self, folder: Path, gallery: Gallery, lane: Lane) -> None:
        self._folder, self._gallery, self._lane = folder, gallery, lane
        self._known: dict[str, Calibration] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def of(self, network: Network) -> Calibration:
        """The calibration as it is now; the first call for a network begins what is missing."""
        if network.model not in self._known:
            self._known[network.model] = await asyncio.to_thread(self._begun, network)
        found = self._known[network.model]
        if found.state == "calibrating" and network.model not in self._tasks:
            self._tasks[network.model] = asyncio.create_task(self._calibrate(network))
        return found

    async def _calibrate(self, network: Network) -> None:
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            found = await self._lane.run(partial(self._calibrated, network), "calibration", never)
        except BusyError:
            del self._tasks[network.model]  # the next who asks begins again
            return
        except FoolscopeError as error:
            LOGGER.warning("cannot calibrate for %s: %s", network.model, error)
            found = Calibration(_detector(network.info), "none", f"no threshold: {error}")
        self._known[network.model] = found

    def _begun(self, network: Network) -> Calibration:
        """What is on disk, or whether there are images to calibrate on."""
        path = self._path(network.model)
        try:
            kept = CalibratedDetector.load(path)
            kept.check(network.engine)
            return _calibration(kept)
        except FoolscopeError:  # not there yet, damaged, or of other weights
            pass
        if self._source(network.info) is None:
            wanted = network.info.trained_on or "its data"
            return Calibration(_detector(network.info), "none", f"no threshold: no images of {wanted} are at hand")
        return Calibration(_detector(network.info), "calibrating", "the threshold is being found")

    def _calibrated(self, network: Network, stop: threading.Event) -> Calibration:
        """Find the threshold, and keep it."""
        source = self._source(network.info)
        assert source is not None
        data = self._gallery.data(source)
        rows = halves(len(data))[0][:_MOST_IMAGES].tolist()
        shown = np.stack([seen(picture_of(data.pixels[row]), network.info)[0].pixels for row in rows])
        with network.used() as engine:
            found = _detector(network.info).calibrate(engine, from_uint8(shown), _RATE)
        try:
            found.save(self._path(network.model))
        except StorageError as error:
            LOGGER.warning("the threshold for %s is found again after a restart: %s", network.model, error)
        return _calibration(found)

    def _source(self, info: ModelInfo) -> Source | None:
        """The set of the gallery whose images are like those that the network was trained on."""
        for source in self._gallery.sources():
            is_folder = source.spec.startswith("folder:")
            if source.spec == info.trained_on or (is_folder and info.trained_on == "imagenet"):
                return source
        return None

    def _path(self, model: str) -> Path:
        return self._folder / f"{digest(model)[:32]}.json"


def _detector(info: ModelInfo) -> FeatureSqueezing:
    """The detector without a threshold."""
    return FeatureSqueezing.usual(info.input_shape or (3, None, None))


def _calibration(found: CalibratedDetector) -> Calibration:
    why = f"{100 * found.rate:g} % of {found.images:,} clean images score above it"
    return Calibration(found.detector, "calibrated", why)
