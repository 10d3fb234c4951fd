"""Personal data at rest: sealed under a named key, found by a keyed digest."""

import pytest
from cryptography.exceptions import InvalidTag

from storage.vault import Vault

OLD, NEW, INDEX = b"o" * 32, b"n" * 32, b"i" * 32


def test_a_sealed_value_opens_again_and_is_not_readable() -> None:
    vault = Vault({"new": NEW}, "new", INDEX)
    sealed = vault.seal("13812345678 白")
    assert b"13812345678" not in sealed
    assert sealed.startswith(b"new:")
    assert vault.open(sealed) == "13812345678 白"


def test_the_same_value_is_never_sealed_the_same() -> None:
    vault = Vault({"new": NEW}, "new", INDEX)
    assert vault.seal("1") != vault.seal("1")
    assert vault.index("1") == vault.index("1")
    assert vault.index("1") != Vault({"new": NEW}, "new", b"j" * 32).index("1")


def test_a_new_key_seals_and_the_old_one_still_opens() -> None:
    sealed = Vault({"old": OLD}, "old", INDEX).seal("x")
    both = Vault({"old": OLD, "new": NEW}, "new", INDEX)
    assert both.open(sealed) == "x"
    assert both.seal("x").startswith(b"new:")


def test_an_altered_value_does_not_open() -> None:
    vault = Vault({"a": OLD, "b": OLD}, "a", INDEX)
    sealed = vault.seal("x")
    for altered in (sealed[:-1] + bytes([sealed[-1] ^ 1]), b"b" + sealed[1:]):
        with pytest.raises(InvalidTag):
            vault.open(altered)


@pytest.mark.parametrize(
    ("keys", "current", "index"),
    [({"a": b"short"}, "a", INDEX), ({"a": OLD}, "b", INDEX), ({"a": OLD}, "a", b"short"),
     ({"a:b": OLD}, "a:b", INDEX)],
)  # fmt: skip
def test_wrong_keys_are_refused_at_once(keys: dict[str, bytes], current: str, index: bytes) -> None:
    with pytest.raises(ValueError, match="vault"):
        Vault(keys, current, index)
