"""The TURN credentials as coturn computes them."""

import base64
import hashlib
import hmac

import pytest

from care.policy import CallPolicy
from signalling.turn import IceServers
from tests.clock import START

TURN = "turn:turn.hospital.test:3478?transport=udp"


@pytest.mark.rule("V4")
def test_credentials_are_a_calls_own_and_end_within_ten_minutes() -> None:
    policy = CallPolicy(stun=("stun:stun.hospital.test:3478",), turn=(TURN,))
    stun, turn = IceServers(policy, "s3cret").give("call", "user", START)
    assert stun == {"urls": ["stun:stun.hospital.test:3478"]}
    until, _, who = turn["username"].partition(":")
    assert 0 < int(until) - START.timestamp() <= 600
    assert who == "call.user"
    digest = hmac.new(b"s3cret", turn["username"].encode(), hashlib.sha1).digest()
    assert turn["credential"] == base64.b64encode(digest).decode()
    assert turn["urls"] == [TURN]


def test_without_its_secret_no_turn_server_is_told() -> None:
    assert IceServers(CallPolicy(turn=(TURN,)), None).give("call", "user", START) == []
