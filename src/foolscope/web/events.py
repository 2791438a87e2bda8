"""What happens to jobs, as server-sent events, read off the files that their processes append to.

An event's id holds, for every job of the stream, the place in its file after the last event that was sent, so that a
browser that connects again, to this process or another, goes on from there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from fastapi.sse import ServerSentEvent

from foolscope.errors import CorruptError
from foolscope.web.jobs import UNFINISHED, Job, JobFolder, Jobs, as_json
from foolscope.web.problems import NotFoundError

MOST_JOBS = 16
_POLL_SECONDS = 0.2
_PLACE = re.compile(r"([0-9a-f]{20})=([0-9]{1,15})")


class Events:
    """A stream of the events of some jobs.  Raises `NotFoundError` where there is no such job."""

    def __init__(self, jobs: Jobs, names: Sequence[str], last_id: str) -> None:
        self._jobs = jobs
        self._folders = {name: jobs.folder(name) for name in names}
        known = {match[1]: int(match[2]) for match in _PLACE.finditer(last_id)}
        self._places = {name: known.get(name, folder.end()) for name, folder in self._folders.items()}
        self._told: dict[str, str] = {}

    async def stream(self, stopping: asyncio.Event) -> AsyncIterator[ServerSentEvent]:
        """The jobs as they are, then what happens, until all of them are finished or the server stops."""
        while not stopping.is_set():
            for name, folder in list(self._folders.items()):
                for event in await asyncio.to_thread(self._news, name, folder):
                    yield event
            if not set(self._told.values()) & set(UNFINISHED):
                yield ServerSentEvent(event="end", data={}, id=self._id())
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _POLL_SECONDS)

    def _news(self, name: str, folder: JobFolder) -> list[ServerSentEvent]:
        """What is new of a job: its progress, then its state where that is another than was told."""
        try:
            job = self._jobs.get(name)  # before the events, or the last of them could be missed
        except (NotFoundError, CorruptError):
            del self._folders[name], self._places[name]
            self._told.pop(name, None)
            return []
        news = []
        for place, event, data in folder.events(self._places[name]):
            self._places[name] = place
            if event == "progress":
                news.append(ServerSentEvent(event=event, data=data, id=self._id()))
        if self._told.get(name) != job.state:
            self._told[name] = job.state
            news.append(self._state(job))
        return news

    def _state(self, job: Job) -> ServerSentEvent:
        return ServerSentEvent(event="state", data=as_json(job), id=self._id())

    def _id(self) -> str:
        return ",".join(f"{name}={place}" for name, place in self._places.items())
