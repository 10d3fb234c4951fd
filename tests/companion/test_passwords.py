"""Password hashes: argon2id, and the same work for accounts that don't exist (A10)."""

from argon2 import PasswordHasher, Type, extract_parameters

from companion.passwords import Passwords


class Counting(PasswordHasher):
    """Counts how often it verifies."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified = 0

    def verify(self, *args: str | bytes) -> bool:  # type: ignore[override]  # counts, whatever comes
        self.verified += 1
        return super().verify(*args)


async def test_a_password_matches_its_hash_alone() -> None:
    passwords = Passwords(Counting())
    kept = await passwords.hash("wenzhen-2026")
    assert await passwords.matches("wenzhen-2026", kept)
    assert not await passwords.matches("wenzhen-2027", kept)


async def test_an_account_that_does_not_exist_is_as_much_work_and_never_matches() -> None:
    hasher = Counting()
    passwords = Passwords(hasher)
    for guess in ("", "wenzhen-2026"):
        assert not await passwords.matches(guess, None)
    assert hasher.verified == 2


async def test_the_default_is_argon2id_as_rfc_9106_asks() -> None:
    parameters = extract_parameters(await Passwords().hash("wenzhen-2026"))
    assert parameters.type is Type.ID
    assert parameters.memory_cost >= 64 * 1024
    assert parameters.time_cost >= 3
