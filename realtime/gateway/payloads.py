"""What each socket command takes: strict, unknown fields refused."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from realtime.gateway.table import Payload

Id = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Seq = Annotated[int, Field(ge=0, le=2**53)]
Limit = Annotated[int, Field(ge=1, le=200)]


class SetPresence(Payload):
    state: Literal["foreground", "background"]


class ListRooms(Payload):
    cursor: Id | None = None


class JoinRoom(Payload):
    room: Id
    after_seq: Seq | None = None


class InRoom(Payload):
    room: Id


class SyncRoom(Payload):
    room: Id
    after_seq: Seq
    limit: Limit | None = None


class RoomHistory(Payload):
    room: Id
    before_seq: Seq | None = None
    limit: Limit | None = None


class Body(Payload):
    """`text` for text and emoji, `file` for the rest; which one is checked against the kind."""

    text: Annotated[str, StringConstraints(min_length=1)] | None = None
    file: Id | None = None


class SendMessage(Payload):
    room: Id
    client_id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    kind: Literal["text", "emoji", "image", "voice", "video"]
    body: Body


class MessageAt(Payload):
    room: Id
    seq: Annotated[int, Field(ge=1, le=2**53)]


class SearchMessages(Payload):
    text: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    room: Id | None = None
    cursor: Id | None = None


class SetTyping(Payload):
    room: Id
    on: bool


class OneConsultation(Payload):
    consultation: Id


class DeclineConsultation(Payload):
    consultation: Id
    reason: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class ProposeTransfer(Payload):
    consultation: Id
    to_doctor: Id
    reason: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class OneTransfer(Payload):
    transfer: Id


class OpenGroup(Payload):
    consultation: Id
    title: Annotated[str, StringConstraints(min_length=1, max_length=40, strip_whitespace=True)]
    reason: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
    mode: Literal["with_patient", "doctors_only"]
    doctors: Annotated[list[Id], Field(min_length=1, max_length=50)]
    history_from_seq: Seq | None = None
    """Share the talk from there on; without it the case alone (G2)."""


class OneGroup(Payload):
    group: Id


class GroupOpinion(Payload):
    group: Id
    text: Annotated[str, StringConstraints(min_length=1, max_length=2000, strip_whitespace=True)]


class CloseGroup(Payload):
    group: Id
    conclusion: Annotated[
        str, StringConstraints(min_length=1, max_length=2000, strip_whitespace=True)
    ]
