"""The integrity of a consultation's record."""

from dataclasses import dataclass

from care.rooms import Break, Head, find_break
from realtime.stores import Stores
from storage.messages import Messages

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
        seq, found = await _follow(stores.messages, room)
        whole += seq
        if found:
            return Verdict(whole, room, found)
    return Verdict(whole)


async def _follow(messages: Messages, room: str) -> tuple[int, Break | None]:
    """Give how far a room's chain is whole, and where it breaks."""
    head = Head()
    while page := await messages.after(room, head.seq, PAGE):
        for message in page:
            if found := find_break(head, message):
                return head.seq, found
            head = head.after(message)
    return head.seq, None
