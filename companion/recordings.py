"""Who may see and play recordings of calls: those who were in them, and the staff (V8, S4)."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from care.accounts import STAFF, Caller
from care.attachments import Grant, read_grant
from care.calls import Call
from care.consultation import Consultation
from care.errors import BadRequest, Conflict, Forbidden
from care.policy import FilePolicy
from care.ports import Audit, Clock
from care.recordings import Footage, Recording

PATH = "/api/v1/recordings"
OWN = "own_call"
"""The purpose of one who was in the call."""


class RecordingReader(Protocol):
    async def get(self, recording: str) -> Recording | None: ...

    async def of_consultation(self, consultation: str) -> list[Recording]: ...

    def read(
        self, recording: str, *, poster: bool, start: int, stop: int
    ) -> AsyncIterator[bytes]: ...


class Calls(Protocol):
    async def get(self, call_id: str) -> Call | None: ...


class Consultations(Protocol):
    async def get(self, consultation_id: str) -> Consultation | None: ...


@dataclass(frozen=True, slots=True)
class Link:
    """Signed addresses of a film and of its picture, for one viewer."""

    url: str
    poster_url: str | None
    expires_at: datetime


class RecordingPages:
    def __init__(
        self,
        recordings: RecordingReader,
        calls: Calls,
        consultations: Consultations,
        audit: Audit,
        clock: Clock,
        policy: FilePolicy,
        url_key: bytes,
    ) -> None:
        self._recordings = recordings
        self._calls = calls
        self._consultations = consultations
        self._audit = audit
        self._clock = clock
        self._policy = policy
        self._url_key = url_key

    async def of_consultation(self, caller: Caller, consultation: str) -> list[Recording]:
        """List a consultation's recordings, newest first, to those who were in the calls."""
        found = await self._recordings.of_consultation(consultation)
        shown = [one for one in found if await self._may_read(caller, one)]
        if caller.role in STAFF and shown:
            await self._note(caller, "recording_listed", shown[0], "look_up")
        return shown

    async def find(self, caller: Caller, recording_id: str) -> Recording:
        """Give one of the caller's own calls. Raises Forbidden."""
        recording = await self._own(caller, recording_id)
        if caller.role in STAFF:
            await self._note(caller, "recording_listed", recording, "look_up")
        return recording

    async def issue(self, caller: Caller, recording_id: str, purpose: str | None) -> Link:
        """Sign an address to play it at, good for its length and a little more; this is audited.

        Raises Conflict while there is nothing to play, BadRequest for staff without a purpose.
        """
        recording = await self._own(caller, recording_id)
        if caller.role in STAFF and purpose is None:
            raise BadRequest.field("purpose", "请填写查看目的")
        footage = _film(recording)
        await self._note(caller, "recording_opened", recording, purpose or OWN)
        length = timedelta(seconds=self._policy.url_seconds, milliseconds=footage.duration_ms)
        until = self._clock.now() + length
        poster = self._url(recording, caller.user, until, poster=True)
        return Link(
            self._url(recording, caller.user, until, poster=False),
            poster if footage.poster_size else None,
            until,
        )

    async def open(self, recording_id: str, query: Mapping[str, str]) -> tuple[Recording, bool]:
        """Give the recording a signed URL leads to, and whether it asks for the picture.

        Who was in a call stays so, so a URL that was given is good to its end. Raises Forbidden.
        """
        granted = read_grant(_named(recording_id), query, self._url_key, self._clock.now())
        recording = await self._recordings.get(recording_id)
        if recording is None or recording.footage is None:
            raise Forbidden
        if granted.thumbnail and not recording.footage.poster_size:
            raise Forbidden
        return recording, granted.thumbnail

    def read(
        self, recording: Recording, *, poster: bool, start: int, stop: int
    ) -> AsyncIterator[bytes]:
        return self._recordings.read(recording.id, poster=poster, start=start, stop=stop)

    def _url(self, recording: Recording, viewer: str, until: datetime, *, poster: bool) -> str:
        granted = Grant(_named(recording.id), viewer, poster, int(until.timestamp()))
        return f"{PATH}/{recording.id}/content?{granted.query(self._url_key)}"

    async def _own(self, caller: Caller, recording_id: str) -> Recording:
        recording = await self._recordings.get(recording_id)
        if recording is None or not await self._may_read(caller, recording):
            raise Forbidden
        return recording

    async def _may_read(self, caller: Caller, recording: Recording) -> bool:
        if caller.role in STAFF:
            return True
        call = await self._calls.get(recording.call)
        return call is not None and call.had(caller.user)

    async def _note(self, caller: Caller, action: str, recording: Recording, why: str) -> None:
        """Note who looked at whose recording, under its patient."""
        consultation = await self._consultations.get(recording.consultation)
        if consultation is None:
            raise Forbidden
        await self._audit.record(
            caller.user, action, consultation.patient, why, {"recording": recording.id}
        )


def _film(recording: Recording) -> Footage:
    if recording.footage is None:
        raise Conflict("录制还没有保存完毕，请稍后再试")
    if not recording.footage.tracks:
        raise Conflict("通话录制中没有声音和画面")
    return recording.footage


def _named(recording_id: str) -> str:
    """Name it apart from attachments, whose addresses the same key signs."""
    return f"recording:{recording_id}"
