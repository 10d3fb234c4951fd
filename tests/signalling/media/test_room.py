"""A media room with aiortc peers in one process: who hears and sees whom."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio

from care.errors import BadRequest
from care.policy import MediaPolicy
from signalling.media.room import Room
from tests.signalling.media.guests import Guest, until

TONES = {"doctor": 440, "patient": 660, "relative": 880, "expert": 1_100}


class Party:
    """A room and its guests."""

    def __init__(self, policy: MediaPolicy | None = None) -> None:
        self.guests: dict[str, Guest] = {}
        self.room = Room("call", policy or MediaPolicy(), self._offered)
        self._answers: set[asyncio.Task[None]] = set()

    async def join(self, user: str, codec: str | None = "VP8") -> Guest:
        if old := self.guests.pop(user, None):
            await old.close()
        guest = self.guests[user] = Guest(user, TONES[user], codec)
        await guest.take_answer(await self.room.join(user, await guest.offer()))
        return guest

    async def refusal(self, user: str, codec: str) -> str:
        """Let somebody try to join who may not."""
        guest = Guest(user, 500, codec)
        try:
            with pytest.raises(BadRequest) as refused:
                await self.room.join(user, await guest.offer())
            return refused.value.message
        finally:
            await guest.close()

    def _offered(self, _call: str, user: str, sdp: str) -> None:
        self._answers.add(asyncio.create_task(self._answer(user, sdp)))

    async def _answer(self, user: str, sdp: str) -> None:
        if guest := self.guests.get(user):
            await self.room.take_answer(user, await guest.answer(sdp))

    async def all_hear_and_see(self, *, video: bool = True) -> None:
        for user, guest in self.guests.items():
            for other in self.guests.keys() - {user}:
                await until(partial(guest.hears, TONES[other]), f"{user} hears {other}")
            if video:
                await until(partial(guest.sees, len(self.guests) - 1), f"{user} sees the others")

    async def close(self) -> None:
        await self.room.close()
        for guest in self.guests.values():
            await guest.close()
        await asyncio.gather(*self._answers)


@pytest_asyncio.fixture
async def party() -> AsyncIterator[Party]:
    party = Party()
    yield party
    await party.close()


@pytest.mark.parametrize("codec", ["VP8", "H264", None])
async def test_two_hear_and_see_each_other_without_another_offer(
    party: Party, codec: str | None
) -> None:
    for user in ("doctor", "patient"):
        await party.join(user, codec)

    await party.all_hear_and_see(video=codec is not None)
    assert [guest.offers for guest in party.guests.values()] == [0, 0]


async def test_a_third_and_a_fourth_join_and_leave(party: Party) -> None:
    for user in TONES:
        await party.join(user)
    await party.all_hear_and_see()
    assert [user for user, guest in party.guests.items() if not guest.offers] == []

    await party.room.leave("relative")
    gone = party.guests.pop("relative")
    await gone.close()
    await until(
        lambda: not party.guests["doctor"].hears(TONES["relative"]), "the one who left is silent"
    )
    await party.join("relative")
    await party.all_hear_and_see()
    assert await party.refusal("fifth", "VP8") == "通话人数已满"


async def test_one_who_begins_anew_is_heard_in_the_same_place(party: Party) -> None:
    await party.join("doctor")
    await party.join("patient")
    await party.all_hear_and_see()

    await party.join("patient")

    await party.all_hear_and_see()
    assert party.guests["doctor"].offers == 0


async def test_the_first_offer_decides_the_calls_video_codec(party: Party) -> None:
    await party.join("doctor", "H264")

    patient = await party.join("patient", "H264")
    answer = patient.pc.remoteDescription.sdp
    assert "H264/90000" in answer
    assert "VP8" not in answer
    assert await party.refusal("expert", "VP8") == "无法使用的 SDP"


async def test_a_codec_that_is_not_allowed_is_not_taken() -> None:
    party = Party(MediaPolicy(codecs=("H264",)))
    assert await party.refusal("doctor", "VP8") == "没有可用的视频编码：需要 VP8 或 H.264"
    doctor = await party.join("doctor", "H264")
    assert "H264/90000" in doctor.pc.remoteDescription.sdp
    await party.close()
