"""What a transcript shows and what it keeps to itself."""

import pytest

from bot.transcript import Transcript, hide


def test_tokens_passwords_and_signatures_are_left_out() -> None:
    answer = {
        "access_token": "eyJ",
        "nested": [{"password": "wenzhen-2026", "code": "246810"}],
        "url": "/api/v1/files/f1?signature=abc",
    }

    assert hide(answer) == {
        "access_token": "***",
        "nested": [{"password": "***", "code": "***"}],
        "url": "/api/v1/files/f1",
    }


def test_an_errors_code_stays_readable() -> None:
    assert hide({"error": {"code": "closed"}}) == {"error": {"code": "closed"}}


def test_a_line_tells_the_offset_the_direction_and_the_actor(
    capsys: pytest.CaptureFixture[str],
) -> None:
    times = iter([10.0, 10.5])
    Transcript(lambda: next(times)).sent("小傅", "room:join", {"room": "r1"})

    assert capsys.readouterr().out == '  0.500s  → 小傅  room:join  {"room": "r1"}\n'
