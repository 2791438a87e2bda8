"""What the requests of one server process share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from foolscope.errors import StorageError
from foolscope.files import HOME_ADVICE, check_writable, home
from foolscope.web.chains import ChainShelf
from foolscope.web.decoding import Decoder
from foolscope.web.experimenting import Experimenting
from foolscope.web.explaining import Explaining
from foolscope.web.gallery import Gallery
from foolscope.web.jobs import Jobs
from foolscope.web.lab import Lab
from foolscope.web.logs import LOGGER
from foolscope.web.networks import Networks
from foolscope.web.pictures import PictureStore
from foolscope.web.settings import Settings

START_MODEL, START_IMAGE, START_ATTACK = "resnet20", "photos-0", "pgd:eps=8/255,steps=10"
"""What a page selects first: it is there without a download, and the network is right about the picture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Services:
    """The parts, made from the settings; `stopping` is set once the server ends."""

    settings: Settings
    home: Path
    networks: Networks
    pictures: PictureStore
    gallery: Gallery
    chains: ChainShelf
    decoder: Decoder
    jobs: Jobs
    lab: Lab
    explaining: Explaining
    experimenting: Experimenting
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """All parts.  Raises `SpecError` where a model of the settings cannot be understood."""
        networks = Networks(settings.models, settings.model_bytes, settings.queue, settings.offline)
        pictures = PictureStore(home() / "web" / "images", settings.image_bytes)
        gallery, chains = Gallery(), ChainShelf(home() / "chains")
        lab = Lab(settings, networks, pictures, gallery, chains)
        return cls(
            settings=settings,
            home=home(),
            networks=networks,
            pictures=pictures,
            gallery=gallery,
            chains=chains,
            decoder=Decoder(settings.side, settings.upload_seconds),
            jobs=Jobs(home() / "web" / "jobs", settings.jobs),
            lab=lab,
            explaining=Explaining(settings, lab, pictures),
            experimenting=Experimenting(gallery, settings.queue),
        )

    async def start(self) -> None:
        """Prepare what the first requests need, as far as that need not be waited for."""
        try:
            await asyncio.to_thread(check_writable, self.home, HOME_ADVICE)
        except StorageError as error:
            LOGGER.warning("nothing can be uploaded or saved, and no job started: %s", error)
        try:
            await asyncio.gather(self.decoder.start(), self.networks.get(START_MODEL))
        except Exception:
            LOGGER.exception("cannot prepare")  # requests will tell who needs it

    async def stop(self) -> None:
        """End what runs: jobs are interrupted and can be resumed."""
        self.stopping.set()
        self.lab.close()
        self.explaining.close()
        self.experimenting.close()
        self.networks.close()
        await self.decoder.stop()
        await asyncio.to_thread(self.jobs.stop)
