"""The integrity of a consultation's record."""

from dataclasses import dataclass

from care.rooms import Break, Head, find_break
from storage.consultations import Consultations
from storage.messages import Messages

PAGE = 200


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far the chain was read, and where it breaks."""

    messages: int
    found: Break | None


async def verify(consultations: Consultations, messages: Messages, id_: str) -> Verdict | None:
    """Follow the chain of a consultation's room from its first message; None for an unknown one."""
    consultation = await consultations.get(id_)
    if consultation is None:
        return None
    head = Head()
    while page := await messages.after(consultation.room, head.seq, PAGE):
        for message in page:
            if found := find_break(head, message):
                return Verdict(head.seq, found)
            head = head.after(message)
    return Verdict(head.seq, None)
