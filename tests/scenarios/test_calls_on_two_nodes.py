"""Two servers on one database: who takes a call, and who is rung, is settled once (V1)."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.scenarios import test_two_nodes
from tests.scenarios.calling import Hall, Pair, candidate, sdp
from tests.scenarios.test_two_nodes import Nodes

nodes = test_two_nodes.nodes
ROUNDS = 50


@pytest_asyncio.fixture
async def hall(nodes: Nodes, http: aiohttp.ClientSession) -> AsyncIterator[Hall]:
    hall = Hall(http, nodes.a.url)
    yield hall
    await hall.close()


@pytest.mark.rule("V1")
async def test_of_two_devices_that_accept_at_once_on_two_nodes_one_wins(
    nodes: Nodes, hall: Hall
) -> None:
    pair = await Pair.make(hall)
    devices = {"phone": pair.patient}
    devices["tablet"] = await hall.enter(pair.row["patient_token"], "tablet", nodes.b.url)
    won: set[str] = set()
    for _ in range(ROUNDS):
        call = await pair.ring()
        answers = await asyncio.gather(
            *(device.wire.ask("call:accept", {"call": call}) for device in devices.values())
        )
        assert sorted(answer["ok"] for answer in answers) == [False, True]
        (winner,) = [n for n, a in zip(devices, answers, strict=True) if a["ok"]]
        (loser,) = devices.keys() - {winner}
        (refusal,) = [answer for answer in answers if not answer["ok"]]
        assert refusal["error"]["code"] == "conflict"
        assert (await devices[loser].state("connecting", id=call))["device_id"] == winner
        await pair.doctor.do("call:offer", call=call, sdp=sdp(call))
        await pair.doctor.do("call:candidate", call=call, candidate=candidate(1))
        await devices[winner].do("call:answer", call=call, sdp=sdp(call))
        await pair.doctor.do("call:hang_up", call=call)
        for device in devices.values():
            await device.state("ended", id=call)
        offers = [d["call"] for n, d in devices[winner].signals() if n == "call:offer"]
        assert offers[-1] == call
        assert call not in [data["call"] for _, data in devices[loser].signals()]
        won.add(winner)
    assert won == {"phone", "tablet"}


@pytest.mark.rule("V1")
async def test_of_two_doctors_who_call_one_patient_at_once_on_two_nodes_one_rings(
    nodes: Nodes, hall: Hall
) -> None:
    first, second = await Pair.make(hall), await Pair.make(hall)
    # give both doctors the same patient
    changed = await nodes.database["consultations"].update_one(
        {"_id": second.row["consultation"]}, {"$set": {"patient": first.patient.user}}
    )
    assert changed.modified_count == 1
    there = await hall.enter(second.row["doctor_token"], "desk", nodes.b.url)
    for _ in range(20):
        answers = await asyncio.gather(
            first.doctor.wire.ask("call:start", {"room": first.row["room"], "media": "video"}),
            there.wire.ask("call:start", {"room": second.row["room"], "media": "video"}),
        )
        (rings,) = [answer["call"]["id"] for answer in answers if answer["ok"]]
        (refusal,) = [answer["error"]["code"] for answer in answers if not answer["ok"]]
        assert refusal == "conflict"
        await first.patient.do("call:decline", call=rings)
    rung = {d["call"]["id"] for n, d in first.patient.wire.events if n == "call:incoming"}
    assert len(rung) == 20
