"""The rules of signed URLs and limits, without any I/O."""

from datetime import timedelta
from urllib.parse import parse_qsl

import pytest

from care.attachments import (
    Attachment,
    FileKind,
    grant,
    max_bytes,
    max_duration_ms,
    read_grant,
)
from care.errors import Forbidden
from care.policy import FilePolicy
from tests.clock import START

KEY = b"k" * 32
POLICY = FilePolicy()
GRANT = grant("f1", "u1", thumbnail=False, now=START, policy=POLICY)


def query(**changes: str) -> dict[str, str]:
    return dict(parse_qsl(GRANT.query(KEY))) | changes


def test_a_signed_url_grants_what_was_signed() -> None:
    assert read_grant("f1", query(), KEY, START) == GRANT


def test_a_signed_url_ends_with_its_last_second() -> None:
    end = START + timedelta(seconds=POLICY.url_seconds)
    assert read_grant("f1", query(), KEY, end - timedelta(milliseconds=1)) == GRANT
    with pytest.raises(Forbidden):
        read_grant("f1", query(), KEY, end)


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": str(GRANT.expires + 1)},
        {"exp": f"0{GRANT.expires}x"},
        {"exp": "-1"},
        {"exp": "9" * 5000},
        {"exp": "１２３"},
        {"u": "u2"},
        {"t": "1"},
        {"t": "2"},
        {"sig": ""},
        {"sig": "0" * 64},
        {"sig": "签名"},
        {"sig": "\ud800"},
    ],
)
def test_any_altered_parameter_is_forbidden(changes: dict[str, str]) -> None:
    with pytest.raises(Forbidden):
        read_grant("f1", query(**changes), KEY, START)


@pytest.mark.parametrize("missing", ["exp", "u", "t", "sig"])
def test_any_missing_parameter_is_forbidden(missing: str) -> None:
    given = query()
    del given[missing]
    with pytest.raises(Forbidden):
        read_grant("f1", given, KEY, START)


def test_another_file_or_key_is_forbidden() -> None:
    for file, key in (("f2", KEY), ("f1", b"x" * 32)):
        with pytest.raises(Forbidden):
            read_grant(file, query(), key, START)


def test_a_viewer_s_id_may_hold_anything_without_meaning_another_grant() -> None:
    odd = grant("f1", 'u&t=1", "x', thumbnail=False, now=START, policy=POLICY)
    assert read_grant("f1", dict(parse_qsl(odd.query(KEY))), KEY, START) == odd


def test_each_kind_has_its_limits() -> None:
    assert max_bytes(POLICY) == max_bytes(POLICY, FileKind.VIDEO) == 50 * 2**20
    assert max_bytes(POLICY, FileKind.VOICE) < max_bytes(POLICY, FileKind.IMAGE)
    assert max_duration_ms(POLICY, FileKind.VOICE) == 60_500


def test_a_message_keeps_the_digest_and_only_what_was_measured() -> None:
    voice = Attachment(
        id="f1", owner="u1", kind=FileKind.VOICE, mime="audio/amr", size=9, sha256="ab",
        duration_ms=20, created_at=START,
    )  # fmt: skip
    assert voice.body() == {
        "file": "f1",
        "mime": "audio/amr",
        "size": 9,
        "sha256": "ab",
        "thumbnail": False,
        "duration_ms": 20,
    }
    assert voice.file_name(thumbnail=False) == "f1.amr"
