"""Tokens and sessions, through the wire (A9)."""

import asyncio
import base64
import json
from typing import Any

import jwt
import pytest

from tests.clock import START, ManualClock
from tests.companion.conftest import KEYS, Api, Hospital

NOW = int(START.timestamp())


def forge(
    *, key: bytes = KEYS.keys["k2"], algorithm: str = "HS256", kid: str | None = "k2",
    typ: str = "at+jwt", without: str | None = None, **changes: Any,
) -> str:  # fmt: skip
    """Make a token that differs from a good one in what is named."""
    claims = {
        "iss": "wenzhen",
        "aud": "wenzhen",
        "sub": "u",
        "role": "admin",
        "name": "x",
        "iat": NOW,
        "exp": NOW + 900,
        **changes,
    }
    claims.pop(without or "", None)
    return jwt.encode(claims, key, algorithm, headers={"typ": typ, "kid": kid} if kid else None)


def unsigned(token: str) -> str:
    """Rewrite a token to claim that it needs no signature."""
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "at+jwt", "kid": "k2"})
                                      .encode()).decode().rstrip("=")  # fmt: skip
    return f"{header}.{token.split('.')[1]}."


async def me(api: Api, token: str) -> int:
    return (await api.call("GET", "me", token=token)).status


async def refresh(api: Api, token: str) -> Any:
    return await api.post("auth/refresh", {"refresh_token": token})


@pytest.mark.rule("A9")
async def test_an_access_token_is_good_for_15_minutes(api: Api, clock: ManualClock) -> None:
    token = (await api.register())["access_token"]
    clock.advance(899)
    assert await me(api, token) == 200
    clock.advance(1)
    answer = await api.call("GET", "me", token=token)
    assert (answer.status, answer["code"]) == (401, "unauthenticated")


@pytest.mark.rule("A9")
async def test_the_key_before_the_current_one_still_verifies(api: Api, hospital: Hospital) -> None:
    registered = await api.register()
    claims = jwt.decode(registered["access_token"], options={"verify_signature": False})
    older = jwt.encode(claims, KEYS.keys["k1"], headers={"typ": "at+jwt", "kid": "k1"})
    assert await me(api, older) == 200


@pytest.mark.rule("A9")
@pytest.mark.parametrize(
    "forgery",
    [
        {"key": b"x" * 32},
        {"kid": "k1"},
        {"kid": "k9"},
        {"kid": None},
        {"algorithm": "HS512", "key": KEYS.keys["k2"] * 2},
        {"typ": "JWT"},
        {"aud": "another"},
        {"aud": ["another"]},
        {"iss": "another"},
        {"without": "exp"},
        {"without": "aud"},
        {"without": "sid"},
        {"without": "role"},
        {"without": "sub"},
        {"exp": NOW - 1},
        {"sid": "unknown"},
    ],
    ids=str,
)
async def test_a_forged_token_opens_nothing(api: Api, forgery: dict[str, Any]) -> None:
    registered = await api.register()
    session = registered["refresh_token"].split(".")[0]
    assert await me(api, forge(sub=registered["user"]["id"], sid=session)) == 200
    forged = forge(**{"sub": registered["user"]["id"], "sid": session} | forgery)
    assert await me(api, forged) == 401


@pytest.mark.rule("A9")
async def test_an_unsigned_or_altered_token_opens_nothing(api: Api) -> None:
    token = (await api.register())["access_token"]
    head, body, signature = token.split(".")
    assert await me(api, unsigned(token)) == 401
    assert await me(api, f"{head}.{body}.") == 401
    assert await me(api, f"{head}.{body[:-2]}AA.{signature}") == 401
    assert await me(api, "not-a-token") == 401


@pytest.mark.rule("A9")
async def test_a_refresh_token_gives_new_tokens_once(api: Api, clock: ManualClock) -> None:
    first = await api.register()
    clock.advance(1000)
    second = await refresh(api, first["refresh_token"])
    assert second.status == 200
    assert second["refresh_token"] != first["refresh_token"]
    assert await me(api, second["access_token"]) == 200
    third = await refresh(api, second["refresh_token"])
    assert third.status == 200


@pytest.mark.rule("A9")
async def test_using_an_old_refresh_token_revokes_the_session(api: Api, hospital: Hospital) -> None:
    first = await api.register()
    second = await refresh(api, first["refresh_token"])
    assert (await refresh(api, first["refresh_token"])).status == 401
    assert await me(api, second["access_token"]) == 401
    assert (await refresh(api, second["refresh_token"])).status == 401
    session = first["refresh_token"].split(".")[0]
    assert hospital.revoked == [(session, first["user"]["id"])]


@pytest.mark.rule("A9")
async def test_of_two_refreshes_at_once_one_wins(api: Api, other_process: Api) -> None:
    token = (await api.register())["refresh_token"]
    answers = await asyncio.gather(
        *(refresh(process, token) for process in (api, other_process, api, other_process))
    )
    assert sorted(answer.status for answer in answers) == [200, 401, 401, 401]


@pytest.mark.rule("A9")
async def test_a_refresh_token_ends_after_thirty_days(api: Api, clock: ManualClock) -> None:
    token = (await api.register())["refresh_token"]
    clock.advance(30 * 86400)
    assert (await refresh(api, token)).status == 401


@pytest.mark.rule("A9")
@pytest.mark.parametrize("token", ["x", ".", "a.b", "0" * 28 + "." + "x" * 43])
async def test_an_unknown_refresh_token_is_unauthenticated(api: Api, token: str) -> None:
    answer = await refresh(api, token)
    assert (answer.status, answer["code"]) == (401, "unauthenticated")


@pytest.mark.rule("A9")
@pytest.mark.parametrize(
    "body", [{}, {"refresh_token": 1}, {"refresh_token": ""}, {"refresh_token": "x" * 129}]
)
async def test_a_wrong_refresh_names_the_field(api: Api, body: dict[str, object]) -> None:
    answer = await api.post("auth/refresh", body)
    assert (answer.status, list(answer["fields"])) == (400, ["refresh_token"])


@pytest.mark.rule("A9")
async def test_logging_out_ends_this_session_alone(api: Api, hospital: Hospital) -> None:
    mine, other = await api.register(), await api.log_in()
    assert (await api.post("auth/logout", token=mine["access_token"])).status == 204
    assert await me(api, mine["access_token"]) == 401
    assert (await refresh(api, mine["refresh_token"])).status == 401
    assert await me(api, other["access_token"]) == 200
    assert len(hospital.revoked) == 1
    assert (await api.post("auth/logout", token=mine["access_token"])).status == 401


@pytest.mark.rule("A9")
async def test_the_gateway_learns_which_sessions_are_over(api: Api, hospital: Hospital) -> None:
    mine, other = await api.register(), await api.log_in()
    gone, live = (login["refresh_token"].split(".")[0] for login in (mine, other))
    await api.post("auth/logout", token=mine["access_token"])
    asked = [gone, live, "unknown"]
    assert await hospital.session_store.revoked_among(asked) == {gone, "unknown"}


@pytest.mark.rule("A9")
async def test_what_is_stored_of_a_session_opens_none(api: Api, hospital: Hospital) -> None:
    registered = await api.register()
    session, _, secret = registered["refresh_token"].partition(".")
    document = await hospital.session_store._sessions.find_one({"_id": session})
    assert document is not None
    assert secret not in str(document)
    assert (await refresh(api, f"{session}.{document['refresh_digest']}")).status == 401


@pytest.mark.rule("A9")
async def test_an_access_token_can_be_made_to_last(
    api: Api, hospital: Hospital, clock: ManualClock
) -> None:
    user = (await api.register())["user"]["id"]
    account = await hospital.store.get(user)
    assert account is not None
    grant = await hospital.sessions.open(account, access_seconds=86400)
    assert grant.expires_in == 86400
    clock.advance(86399)
    assert await me(api, grant.access_token) == 200
