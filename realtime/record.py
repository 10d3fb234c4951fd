"""The integrity of a consultation's record."""

from dataclasses import dataclass

from care.rooms import SYSTEM, Break, Head, Message, find_break
from realtime.stores import Stores
from storage.recordings import Recordings

PAGE = 200


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many messages are whole, and where a room's chain breaks."""

    messages: int
    room: str = ""
    found: Break | None = None


async def verify(stores: Stores, consultation_id: str) -> Verdict | None:
    """Follow the chains of a consultation's room and its groups' rooms; None for an unknown one."""
    consultation = await stores.consultations.get(consultation_id)
    if consultation is None:
        return None
    groups = await stores.groups.among(consultation.groups)
    whole = 0
    for room in (consultation.room, *(group.room for group in groups)):
        seq, found = await _follow(stores, room)
        whole += seq
        if found:
            return Verdict(whole, room, found)
    return Verdict(whole)


async def _follow(stores: Stores, room: str) -> tuple[int, Break | None]:
    """Give how far a room's chain is whole with the films it names, and where it breaks."""
    head = Head()
    while page := await stores.messages.after(room, head.seq, PAGE):
        for message in page:
            if found := find_break(head, message) or await _film_break(stores.recordings, message):
                return head.seq, found
            head = head.after(message)
    return head.seq, None


async def _film_break(recordings: Recordings, message: Message) -> Break | None:
    """Say what is wrong with the film whose digest the message keeps, if anything is (V8)."""
    named = message.body.get("recording")
    if message.sender != SYSTEM or named is None:
        return None
    recording = await recordings.get(named)
    if recording is None or await recordings.digest(recording) != message.body["sha256"]:
        return Break(message.seq, f"the film of recording {named} is altered or missing")
    return None
