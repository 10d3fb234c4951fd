"""What comes from elsewhere, or is malformed, harms nobody: no media leak, other calls go on."""

import asyncio
import gc
import os
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog
from aioice import stun
from aiortc.rtp import is_rtcp

from bench.packet_bots import PacketBot
from bench.processes import resident_bytes
from care.call_sides import SIDES_MAX
from care.errors import BadRequest, CareError
from care.media import RecordingState
from signalling.media import descriptions
from signalling.media.recording.finish import finish
from signalling.media.recording.recorders import Recorders
from tests.signalling.media.guests import until
from tests.signalling.media.hop import Address, Datagrams, candidates
from tests.signalling.media.malformed import damaged, damaged_text, genuine_rtcp, genuine_rtp
from tests.signalling.media.packets_of_bots import BOTH, SOUND, Talk, clip

SEED = 20_261_123
HANDED = 100_000
"""Packets handed to a side's traffic as if they had been decrypted."""
ENCRYPTED = 5_000
RECORDED = 10_000
RAW = 5_000
BATCH = 10
"""Packets between which other calls get their turn."""
MEMORY = 24 << 20
DESCRIPTIONS = 400
JOIN_SECONDS = 10.0
CHROMIUM = Path(__file__).with_name("chromium_offer.sdp").read_text().replace("\n", "\r\n")


@pytest_asyncio.fixture(scope="module")
async def others() -> AsyncIterator[Talk]:
    """A call of others in the same process."""
    talk = Talk("others")
    await talk.join("doctor", kinds=SOUND)
    await talk.join("patient", kinds=SOUND)
    await talk.flows()
    yield talk
    await talk.close()


@pytest_asyncio.fixture
async def talk(others: Talk) -> AsyncIterator[Talk]:
    """The call that is attacked; others may not lose a packet, nor anything fail, meanwhile."""
    talk = Talk("attacked")
    with nothing_fails():
        try:
            yield talk
        finally:
            await talk.close()
        await others.flows()
    assert [bot.lost for bot in others.bots.values()] == [0, 0]


@contextmanager
def nothing_fails() -> Iterator[None]:
    """Fail for what a task or callback raised, and for packets whose failure was logged."""
    failures: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    try:
        with structlog.testing.capture_logs() as logs:
            yield
        gc.collect()
    finally:
        loop.set_exception_handler(handler)
    assert failures == []
    assert [line for line in logs if line["log_level"] in {"error", "critical"}] == []


async def test_an_end_with_another_certificate_is_given_nothing(talk: Talk) -> None:
    doctor = await talk.join("doctor", 2)
    thief = talk.bots["thief"] = PacketBot("thief", clip())
    offer = await thief.offer(BOTH, 2)
    mark = offer.index("a=fingerprint:sha-256 ") + len("a=fingerprint:sha-256 ")
    false = offer[:mark] + ("00" if offer[mark : mark + 2] != "00" else "11") + offer[mark + 2 :]
    await thief.take_answer(await talk.room.join("thief", false))
    await talk.join("patient", 2)

    await talk.flows("doctor", "patient")
    refused = talk.side("thief")._connection
    await until(lambda: refused.connectionState == "failed", "his handshake was tried")
    await talk.flows("doctor", "patient")

    assert thief.received == 0
    assert not talk.side("thief").open
    assert sum(one.received > 0 for one in doctor.traffic.tallies.values()) == len(BOTH)


class Stranger:
    """A socket that no ICE knows of."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def open(self) -> None:
        self.socket = await Datagrams.open(lambda data, _: self.heard.append(data))

    def say(self, data: bytes, to: Address) -> None:
        self.socket.transport.sendto(data, to)

    def close(self) -> None:
        self.socket.transport.close()


async def test_media_from_an_address_that_ice_does_not_know_go_nowhere(talk: Talk) -> None:
    await talk.join("doctor", loss=0.0)
    patient = await talk.join("patient")
    await talk.flows()
    stranger, stolen = Stranger(), 0
    await stranger.open()

    def steal(data: bytes, room: Address) -> None:
        nonlocal stolen
        stolen += 1
        stranger.say(data, room)

    # of the right key, and never seen before: only its sender's address is wrong
    talk.hops[0].thief = steal
    await until(lambda: stolen > 20, "media are diverted")
    had = patient.received
    await until(lambda: stolen > 120, "media are diverted")
    assert patient.received == had

    talk.hops[0].thief = None
    await talk.flows()
    assert stranger.heard == []
    stranger.close()


async def test_who_does_not_know_the_password_gets_no_ice(talk: Talk) -> None:
    doctor, stranger = await talk.join("doctor", kinds=SOUND), Stranger()
    await talk.join("patient", kinds=SOUND)
    await talk.flows()
    await stranger.open()
    description = doctor.pc.remoteDescription.sdp
    room = next(one for one in candidates(description) if ":" not in one[0])
    name = description.split("a=ice-ufrag:")[1].split("\r\n")[0]
    dice = random.Random(SEED)  # noqa: S311  # no secret

    for number in range(200):
        check = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        check.attributes["USERNAME"] = f"{name}:doctor"
        check.attributes["PRIORITY"] = 1
        check.attributes["ICE-CONTROLLING"] = 1
        check.attributes["USE-CANDIDATE"] = None
        if number % 2:
            check.add_message_integrity(dice.randbytes(22))
        stranger.say(bytes(check), room)
        # neither is there a word that aioice or DTLS would stumble over
        stranger.say(damaged(dice, bytes(check)), room)
        stranger.say(bytes([22, 254, 253]) + dice.randbytes(60), room)
        stranger.say(b"", room)
        await asyncio.sleep(0.001)
    await talk.flows()

    await until(lambda: len(stranger.heard) >= 150, "refusals come")
    answers = [stun.parse_message(data) for data in stranger.heard]
    assert {one.message_class for one in answers} == {stun.Class.ERROR}
    assert [bot.lost for bot in talk.bots.values()] == [0, 0]
    stranger.close()


async def test_malformed_packets_of_a_side_harm_nobody(talk: Talk) -> None:
    attacker = await talk.join("attacker")
    partner = await talk.join("partner")
    await talk.flows()
    dice = random.Random(SEED)  # noqa: S311  # no secret
    traffic = talk.side("attacker").traffic
    genuine = [*genuine_rtp(attacker), *genuine_rtcp(attacker)]
    memory = 0
    for number in range(HANDED):
        data = damaged(dice, dice.choice(genuine))
        # an exception here is the test's failure
        (traffic.take_rtcp if is_rtcp(data) else traffic.take_rtp)(data)
        if number % BATCH == 0:
            await asyncio.sleep(0)
        if number == HANDED // 5:
            memory = resident_bytes(os.getpid())
    assert resident_bytes(os.getpid()) - memory < MEMORY

    # what SRTP lets a sender encrypt comes the whole way
    for number in range(ENCRYPTED):
        attacker.wire.send(damaged(dice, dice.choice(genuine)).ljust(12, b"\0"))
        if number % BATCH == 0:
            await asyncio.sleep(0)

    await talk.flows("attacker")
    assert talk.side("attacker").open
    assert talk.side("partner").open
    assert partner.wire.open


async def test_malformed_packets_of_a_side_do_not_spoil_the_others_recording(
    talk: Talk, tmp_path: Path
) -> None:
    attacker = await talk.join("attacker")
    partner = await talk.join("partner")
    await talk.flows()
    (pictures,) = [one for one in partner.players if one.kind == "video"]
    asked = pictures.asked
    states: list[RecordingState] = []
    recorders = Recorders(tmp_path, lambda _call, _recording, state, _problem: states.append(state))
    await recorders.start(talk.room, "attacked", "rec", datetime.now(UTC))
    dice = random.Random(SEED)  # noqa: S311  # no secret
    traffic = talk.side("attacker").traffic
    genuine = [*genuine_rtp(attacker), *genuine_rtcp(attacker)]
    for number in range(RECORDED):
        data = damaged(dice, dice.choice(genuine))
        (traffic.take_rtcp if is_rtcp(data) else traffic.take_rtp)(data)
        if number % BATCH == 0:
            await asyncio.sleep(0)
    # a film's pictures begin with a key frame
    await until(lambda: pictures.asked > asked, "the partner is asked for a key frame")
    await talk.flows()
    await recorders.stop("attacked")

    footage = await asyncio.to_thread(finish, tmp_path, "rec")

    assert states == [RecordingState.RUNNING, RecordingState.FINISHED]
    assert footage is not None
    partners = [one for one in footage.tracks if one.user == "partner"]
    assert {one.kind: one.lost_packets for one in partners} == {"audio": 0, "video": 0}


async def test_malformed_datagrams_at_the_socket_harm_nobody(talk: Talk) -> None:
    doctor, stranger = await talk.join("doctor", kinds=SOUND, loss=0.0), Stranger()
    await talk.join("patient", kinds=SOUND)
    await talk.flows()
    dice = random.Random(SEED)  # noqa: S311  # no secret
    hop = talk.hops[0]
    check = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    check.attributes["USERNAME"] = "somebody:else"
    check.attributes["PRIORITY"] = 1
    check.add_message_integrity(b"secret")
    seen: list[bytes] = []

    def copy(data: bytes, room: Address) -> None:
        seen.append(data)
        hop._far.transport.sendto(data, room)

    hop.thief = copy
    await until(lambda: len(seen) > 50, "packets were seen")
    hop.thief = None
    await stranger.open()
    assert hop._room is not None
    words = [*seen, bytes(check), bytes([22, 254, 253]) + dice.randbytes(60), bytes([20]) * 14]
    for number in range(RAW):
        data = damaged(dice, dice.choice(words))
        # half of them come from the address that ICE knows
        (stranger.socket if number % 2 else hop._far).transport.sendto(data, hop._room)
        if number % 10 == 0:
            await asyncio.sleep(0.001)

    await talk.flows()
    assert doctor.wire.open
    assert [bot.lost for bot in talk.bots.values()] == [0, 0]
    stranger.close()


async def test_malformed_offers_are_refused_or_answered(talk: Talk) -> None:
    await talk.join("doctor")
    partner = await talk.join("partner")
    await talk.flows()
    dice = random.Random(SEED)  # noqa: S311  # no secret
    offers = [CHROMIUM, str(partner.pc.localDescription.sdp)]
    answered = 0
    for number in range(DESCRIPTIONS):
        user = f"user-{number % (SIDES_MAX - 2)}"
        async with asyncio.timeout(JOIN_SECONDS):
            try:
                answer = await talk.room.join(user, damaged_text(dice, dice.choice(offers)))
            except BadRequest:
                continue
            answered += answer.startswith("v=0")
            await talk.room.leave(user)
    # the fuzz is of both sorts
    assert 0 < answered < DESCRIPTIONS
    await talk.flows()


@pytest.mark.parametrize(
    "place", ["192.0.2.10 0", "192.0.2.10 65536", "224.0.0.1 9", "0.0.0.0 9", "printer.local 9"]
)
def test_nothing_is_sent_where_a_socket_cannot(place: str) -> None:
    line = f"candidate:1 1 udp 2130706431 {place} typ host"
    assert descriptions.read_candidate({"candidate": line, "sdpMid": "0"}) is None
    assert line not in descriptions.without_names(f"v=0\r\na={line}\r\n")


async def test_malformed_answers_and_candidates_harm_their_sender_alone(talk: Talk) -> None:
    await talk.join("doctor")
    await talk.join("partner")
    await talk.flows()
    dice = random.Random(SEED)  # noqa: S311  # no secret
    answer = str(talk.bots["partner"].pc.localDescription.sdp).replace("actpass", "active")
    candidate = "candidate:1 1 udp 2130706431 192.0.2.10 40000 typ host"
    for _ in range(DESCRIPTIONS):
        said = {"candidate": damaged_text(dice, candidate), "sdpMid": dice.choice(["0", "7", None])}
        for take in (
            talk.room.take_candidate("partner", said),
            talk.room.take_answer("partner", damaged_text(dice, answer)),
        ):
            async with asyncio.timeout(JOIN_SECONDS):
                try:
                    await take
                except (CareError, ValueError):
                    continue
    await talk.flows()
