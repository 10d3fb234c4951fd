"""What the bot sends is what it knows again: a tone and a moving picture, or neither."""

import aioice.ice
import pytest
from av import AudioFrame, VideoFrame

from bot.errors import NoAddress
from bot.media import Ear, Eye, Pattern, Tone
from bot.peer import Peer


async def _listen(tone: Tone) -> Ear:
    ear = Ear()
    for _ in range(10):
        frame = await tone.recv()
        assert isinstance(frame, AudioFrame)
        ear.take(frame)
    return ear


async def _look(pattern: Pattern) -> Eye:
    eye = Eye()
    for _ in range(3):
        frame = await pattern.recv()
        assert isinstance(frame, VideoFrame)
        eye.take(frame)
    return eye


async def test_a_tone_is_told_from_another() -> None:
    ear = await _listen(Tone(440))

    assert ear.energy == pytest.approx(0.17, abs=0.01)
    assert ear.share(440) > 0.9
    assert ear.share(460) < 0.1
    assert ear.share(660) < 0.1


async def test_a_muted_tone_is_silence() -> None:
    tone = Tone(440)
    tone.sending = False

    ear = await _listen(tone)

    assert (ear.frames, ear.energy, ear.share(440)) == (10, 0.0, 0.0)


@pytest.mark.parametrize("sending", [True, False])
async def test_a_pattern_moves_only_while_it_is_sent(sending: bool) -> None:
    pattern = Pattern()
    pattern.sending = sending

    eye = await _look(pattern)

    assert (eye.frames, eye.moving) == (3, sending)


async def test_nothing_received_is_neither_sound_nor_movement() -> None:
    assert (Ear().energy, Ear().share(440), Eye().moving) == (0.0, 0.0, False)


async def test_a_machine_with_loopback_alone_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: [])
    peer = Peer([], hertz=440, video=False, changed=lambda: None)

    with pytest.raises(NoAddress, match=r"ip addr add 127\.0\.0\.2/8 dev lo"):
        await peer.offer()
    await peer.close()
