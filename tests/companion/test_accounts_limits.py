"""The limits that keep guessing and flooding out, through the wire (A10)."""

import asyncio

import pytest

from companion.sms import SandboxSms
from storage.database import Database
from tests.clock import ManualClock
from tests.companion.conftest import PASSWORD, PHONE, Api, Hospital, Phone, registration

UNKNOWN = "13099999999"


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06d}"


async def ask(api: Api, phone: str = PHONE, purpose: str = "login") -> int:
    return (await api.post("auth/sms-codes", {"phone": phone, "purpose": purpose})).status


@pytest.mark.rule("A10")
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"purpose": "login"}, "phone"),
        ({"phone": PHONE}, "purpose"),
        ({"phone": PHONE, "purpose": "other"}, "purpose"),
        ({"phone": "+8613812345678", "purpose": "login"}, "phone"),
        ({"phone": PHONE, "purpose": "login", "more": 1}, "more"),
    ],
)
async def test_a_wrong_request_for_a_code_names_the_field(
    api: Api, body: dict[str, object], field: str
) -> None:
    answer = await api.post("auth/sms-codes", body)
    assert (answer.status, list(answer["fields"])) == (400, [field])


@pytest.mark.rule("A10")
async def test_a_code_lasts_five_minutes(api: Api, clock: ManualClock) -> None:
    code = await api.code(PHONE, "register")
    clock.advance(300)
    answer = await api.post("auth/register", registration(PHONE, code))
    assert (answer.status, list(answer["fields"])) == (400, ["code"])
    code = await api.code(PHONE, "register")
    clock.advance(299)
    assert (await api.post("auth/register", registration(PHONE, code))).status == 201


@pytest.mark.rule("A10")
async def test_a_code_is_dead_after_five_tries(api: Api) -> None:
    code = await api.code(PHONE, "register")
    for _ in range(5):
        answer = await api.post("auth/register", registration(PHONE, wrong(code)))
        assert list(answer["fields"]) == ["code"]
    assert (await api.post("auth/register", registration(PHONE, code))).status == 400


@pytest.mark.rule("A10")
async def test_the_fifth_try_may_be_the_right_one(api: Api) -> None:
    code = await api.code(PHONE, "register")
    for _ in range(4):
        await api.post("auth/register", registration(PHONE, wrong(code)))
    assert (await api.post("auth/register", registration(PHONE, code))).status == 201


@pytest.mark.rule("A10")
async def test_a_code_used_at_once_in_two_places_is_used_once(
    api: Api, other_process: Api, clock: ManualClock
) -> None:
    await api.register()
    clock.advance(60)
    body = {"phone": PHONE, "code": await api.code(PHONE, "login")}
    answers = await asyncio.gather(
        *(process.post("auth/login", body) for process in (api, other_process) * 2)
    )
    assert sorted(answer.status for answer in answers) == [200, 401, 401, 401]


@pytest.mark.rule("A10")
async def test_guesses_sent_together_are_counted_one_by_one(
    api: Api, other_process: Api, hospital: Hospital, phone: Phone
) -> None:
    code = await api.code(PHONE, "register")
    guesses = [registration(PHONE, wrong(code)) for _ in range(12)]
    await asyncio.gather(
        *(api.post("auth/register", guess) for guess in guesses[:6]),
        *(other_process.post("auth/register", guess) for guess in guesses[6:]),
    )
    document = await hospital.code_store._codes.find_one({})
    assert document is not None
    assert document["code"]["tries"] == 5


@pytest.mark.rule("A10")
async def test_a_new_code_voids_the_old(api: Api, clock: ManualClock) -> None:
    old = await api.code(PHONE, "register")
    clock.advance(60)
    new = await api.code(PHONE, "register")
    if old != new:
        assert (await api.post("auth/register", registration(PHONE, old))).status == 400
    assert (await api.post("auth/register", registration(PHONE, new))).status == 201


@pytest.mark.rule("A10")
async def test_a_phone_gets_one_code_a_minute(
    api: Api, other_process: Api, phone: Phone, clock: ManualClock
) -> None:
    statuses = await asyncio.gather(*(ask(process) for process in (api, other_process) * 3))
    assert sorted(statuses) == [200, 429, 429, 429, 429, 429]
    assert len(phone.received) == 1
    clock.advance(20)
    answer = await api.post("auth/sms-codes", {"phone": PHONE, "purpose": "register"})
    assert (answer["code"], answer["retry_after_ms"]) == ("rate_limited", 40_000)
    assert answer.headers["Retry-After"] == "40"
    assert await ask(api, UNKNOWN) == 200
    clock.advance(40)
    assert await ask(api) == 200


@pytest.mark.rule("A10")
async def test_a_phone_gets_ten_codes_a_day_of_the_hospital(api: Api, clock: ManualClock) -> None:
    for _ in range(10):
        assert await ask(api) == 200
        clock.advance(60)
    answer = await api.post("auth/sms-codes", {"phone": PHONE, "purpose": "login"})
    # the tests' day begins at 08:00, ten minutes ago
    assert (answer.status, answer["retry_after_ms"]) == (429, (16 * 3600 - 600) * 1000)
    clock.advance(16 * 3600 - 601)
    assert await ask(api) == 429
    clock.advance(1)
    assert await ask(api) == 200


@pytest.mark.rule("A10")
async def test_ten_failures_lock_the_log_in_for_fifteen_minutes(
    api: Api, other_process: Api, clock: ManualClock
) -> None:
    await api.register()
    for process in (api, other_process) * 5:
        assert (await process.log_in(password="wrong-one-1")).status == 401
    for process in (api, other_process):
        answer = await process.log_in()
        assert (answer.status, answer["code"]) == (429, "rate_limited")
        assert answer["retry_after_ms"] == 900_000
    clock.advance(899)
    assert (await api.log_in()).status == 429
    clock.advance(1)
    assert (await api.log_in()).status == 200


@pytest.mark.rule("A10")
async def test_a_log_in_forgives_the_failures_before_it(api: Api) -> None:
    await api.register()
    for _ in range(2):
        for _ in range(9):
            assert (await api.log_in(password="wrong-one-1")).status == 401
        assert (await api.log_in()).status == 200


@pytest.mark.rule("A10")
async def test_guesses_sent_together_cannot_pass_the_lock(api: Api, other_process: Api) -> None:
    await api.register()
    answers = await asyncio.gather(
        *(process.log_in(password="wrong-one-1") for process in (api, other_process) * 15)
    )
    statuses = [answer.status for answer in answers]
    assert (statuses.count(401), statuses.count(429)) == (10, 20)


@pytest.mark.rule("A10")
async def test_guessing_the_old_password_locks_too(api: Api) -> None:
    token = (await api.register())["access_token"]
    body = {
        "old_password": "wrong-1234",
        "new_password": "new-1234",
        "confirm_password": "new-1234",
    }
    for _ in range(10):
        assert (await api.post("me/password", body, token)).status == 400
    assert (await api.post("me/password", body, token)).status == 429


@pytest.mark.rule("A10")
async def test_a_reset_opens_the_lock(api: Api, clock: ManualClock) -> None:
    await api.register()
    for _ in range(10):
        await api.log_in(password="wrong-one-1")
    clock.advance(60)
    code = await api.code(PHONE, "password_reset")
    body = {"phone": PHONE, "code": code, "password": PASSWORD, "password_repeat": PASSWORD}
    assert (await api.post("auth/password-reset", body)).status == 204
    assert (await api.log_in()).status == 200


@pytest.mark.rule("A10")
async def test_unknown_and_known_phones_get_the_same_answers(api: Api, clock: ManualClock) -> None:
    await api.register()
    clock.advance(60)
    for purpose in ("login", "password_reset"):
        known, unknown = [
            await api.post("auth/sms-codes", {"phone": number, "purpose": purpose})
            for number in (PHONE, UNKNOWN)
        ]
        assert (known.status, known) == (unknown.status, unknown)
        clock.advance(60)
    reset = {"code": "000000", "password": PASSWORD, "password_repeat": PASSWORD}
    for path, body in (
        ("auth/login", {"password": "wrong-one-1"}),
        ("auth/login", {"code": "000000"}),
        ("auth/password-reset", reset),
    ):
        known, unknown = [
            await api.post(path, {"phone": number, **body}) for number in (PHONE, UNKNOWN)
        ]
        assert (known.status, known) == (unknown.status, unknown)


@pytest.mark.rule("A10")
async def test_even_a_right_code_does_not_tell_that_a_phone_is_unknown(api: Api) -> None:
    code = await api.code(UNKNOWN, "login")
    right = await api.post("auth/login", {"phone": UNKNOWN, "code": code})
    again = await api.post("auth/login", {"phone": UNKNOWN, "code": code})
    assert (right.status, right) == (again.status, again)


@pytest.mark.rule("A10")
async def test_unknown_phones_are_locked_like_known_ones(api: Api) -> None:
    statuses = [(await api.log_in(UNKNOWN)).status for _ in range(11)]
    assert statuses == [401] * 10 + [429]


@pytest.mark.rule("A10")
async def test_neither_code_nor_phone_can_be_read_from_the_database(
    api: Api, database: Database
) -> None:
    code = await api.code(PHONE, "login")
    await api.log_in(UNKNOWN)
    for name in ("sms_codes", "login_failures"):
        kept = str(await database[name].find({}).to_list())
        assert kept != "[]"
        assert not any(secret in kept for secret in (code, PHONE, UNKNOWN))


async def test_the_sandbox_shows_the_code_to_the_terminal_and_not_to_the_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    await SandboxSms().send(PHONE, "sms_code", {"code": "246810"})
    shown = capsys.readouterr()
    assert "246810" in shown.err
    assert "246810" not in shown.out
    assert PHONE not in shown.err + shown.out
