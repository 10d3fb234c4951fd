"""What cannot be noted is not done, and nothing of it is shown (S4)."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from realtime.secrets import MAKERS
from storage.database import Database
from tests.scenarios.people import (
    HUATUO,
    PASSWORD,
    ask,
    begin,
    enter,
    pay,
    register,
    say,
)
from tests.server import ServerProcess

ADMIN = "13500000001"
REASON = "患者来电要求取消"


@pytest_asyncio.fixture
async def name(mongo_uri: str) -> AsyncIterator[str]:
    """Give the name of a database of the test's own."""
    name = f"audit_{secrets.token_hex(4)}"
    yield name
    database = Database(mongo_uri, name)
    await database.client.drop_database(name)
    await database.close()


async def refuse_entries(mongo_uri: str, name: str) -> None:
    """Let the database take no more entries, as one that is full or misconfigured does."""
    database = Database(mongo_uri, name)
    impossible = {"never": {"$exists": True}}
    await database.client[name].command("collMod", "audit", validator=impossible)
    await database.close()


@pytest.mark.rule("S4")
async def test_what_cannot_be_noted_is_neither_shown_nor_done(
    mongo_uri: str, name: str, tmp_path: Path
) -> None:
    keys = {f"WENZHEN_SECRET_{key.upper()}": make() for key, make in MAKERS.items()}
    servers = {"WENZHEN_MONGODB__URI": mongo_uri, "WENZHEN_MONGODB__DATABASE": name}
    server = ServerProcess(tmp_path / "data", env={**keys, **servers})
    await server.start()
    try:
        async with aiohttp.ClientSession() as http:
            patient = await register(server.url, http)
            doctor = await enter(server.url, http, HUATUO)
            admin = await enter(server.url, http, ADMIN)
            ended = await begin(patient, doctor)
            await say(doctor, ended["room"], "您好")
            await doctor.post(f"/consultations/{ended['id']}/end")
            asked = await ask(patient, doctor)
            await pay(patient, asked["id"])
            one = f"/operator/consultations/{asked['id']}"
            payment = (await admin.get(f"/operator/consultations/{ended['id']}"))["payment"]
            phone = f"132{secrets.randbelow(10**8):08d}"
            staff = {"role": "pharmacist", "phone": phone, "name": "新人", "password": PASSWORD}
            await refuse_entries(mongo_uri, name)

            wrong = []
            for method, path, body in (
                ("GET", f"/operator/consultations?patient={patient.id}", None),
                ("GET", one, None),
                ("POST", f"{one}/reveal", {"purpose": "处理投诉"}),
                ("POST", f"{one}/cancel", {"reason": REASON}),
                ("GET", f"/consultations/{asked['id']}", None),
                ("GET", "/operator/deadlines", None),
                ("GET", "/operator/payments", None),
                ("POST", f"/operator/payments/{payment['id']}/refund", {"reason": REASON}),
                ("GET", "/operator/dead-letters", None),
                ("POST", "/operator/dead-letters/any/retry", None),
                ("POST", "/operator/accounts", staff),
                ("GET", f"/operator/accounts/{patient.id}", None),
                ("POST", f"/operator/accounts/{patient.id}/reveal", {"purpose": "电话回访"}),
                ("GET", f"/operator/audit?subject={patient.id}", None),
            ):
                answer = await admin.client.call(method, path, body)
                shown = str(answer.body)
                leaked = [word for word in (patient.id, patient.phone, "炎") if word in shown]
                if (answer.status, answer.body.get("code")) != (500, "internal") or leaked:
                    wrong.append((method, path, answer.status, shown))
            assert wrong == []

            mine = {c["id"]: c["state"] for c in (await patient.get("/consultations"))["items"]}
            assert mine == {asked["id"]: "awaiting_doctor", ended["id"]: "ended"}
            told = (await patient.get("/notices"))["items"]
            assert "refunded" not in [n["template"] for n in told]
            login = {"phone": phone, "password": PASSWORD}
            async with http.post(f"{server.url}/api/v1/auth/login", json=login) as response:
                assert response.status == 401
            for user in (patient, doctor, admin):
                await user.close()
    finally:
        await server.close()
