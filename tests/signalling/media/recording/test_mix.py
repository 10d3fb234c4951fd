"""Samples are added, and cut where they are louder than can be."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from signalling.media.recording import mix

SAMPLE = st.integers(-32_768, 32_767)


@given(st.lists(st.lists(SAMPLE, max_size=5), max_size=4))
def test_a_sum_is_as_loud_as_can_be_and_no_louder(voices: list[list[int]]) -> None:
    mixed = mix._sum([array("h", voice) for voice in voices])

    assert len(mixed) == mix.BLOCK
    for place in range(6):
        level = 0
        for voice in voices:
            sample = voice[place] if place < len(voice) else 0
            level = max(-32_767, min(32_767, level + sample))
        assert abs(mixed[place] - level) <= 1
