"""What an event can reach, and that whoever asked for an answer gets one."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.realtime.gateway.conftest import Hub, Start


def code(answer: dict[str, Any]) -> str:
    assert answer["ok"] is False
    assert isinstance(answer["error"]["retry"], bool)
    assert answer["error"]["message"]
    return str(answer["error"]["code"])


@pytest.mark.parametrize("name", ["connect", "disconnect", "message", "no:such", "*", "", "run"])
async def test_only_the_table_is_reachable(hub: Hub, name: str) -> None:
    client = await hub.client()
    assert code(await client.call(name, {"token": "bob"})) == "bad_request"
    assert (await client.call("nothing", {}))["ok"]
    assert hub.book.ran == ["nothing"]
    assert len(hub.connections) == 1


@pytest.mark.parametrize("name", [7, None, {"a": 1}, ["echo"], True])
async def test_an_event_name_that_is_no_text_is_refused(hub: Hub, name: Any) -> None:
    raw = await hub.raw()
    assert code(await raw.call(name, {})) == "bad_request"
    assert (await raw.call("nothing", {}))["ok"]


@pytest.mark.parametrize(
    "arguments", [[], [{}, {}], ["text"], [None], [[{}]], [1], [{"text": "a"}, "b"]]
)
async def test_a_command_takes_exactly_one_object(hub: Hub, arguments: list[Any]) -> None:
    raw = await hub.raw()
    assert code(await raw.call("echo", *arguments)) == "bad_request"
    assert hub.book.ran == []


async def test_refused_fields_are_named_with_the_reason(hub: Hub) -> None:
    raw = await hub.raw()
    answer = await raw.call("echo", {"texts": "a"})
    assert answer["error"]["fields"] == {"text": "必填", "texts": "不认识的字段"}
    answer = await raw.call("echo", {"text": 5})
    assert answer["error"]["fields"] == {"text": "应为文字"}


async def test_expected_errors_keep_their_code(hub: Hub) -> None:
    raw = await hub.raw()
    assert code(await raw.call("closed", {})) == "closed"
    assert hub.counted("wenzhen_command_errors_total", code="closed") == 1


@pytest.mark.parametrize("command", ["fail", "unwritable"])
async def test_an_unknown_failure_is_answered_bare_and_logged_without_the_payload(
    hub: Hub, command: str
) -> None:
    raw = await hub.raw()
    (connection,) = hub.connections
    payload = {"text": "我怀孕了"} if command == "fail" else {}
    with capture_logs() as logs:
        answer = await raw.call(command, payload)
    assert code(answer) == "internal"
    assert "detail" not in json.dumps(answer)
    (log,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert (log["connection"], log["command"]) == (connection.id, command)
    assert log["exc_info"] is not None
    assert "怀孕" not in repr(log)


async def test_roles_are_kept(hub: Hub) -> None:
    patient, doctor = await hub.raw("ann"), await hub.raw("dan/doctor")
    assert code(await patient.call("doctors", {})) == "forbidden"
    assert (await doctor.call("doctors", {}))["ok"]


async def test_a_command_without_a_number_runs_and_answers_nothing(hub: Hub) -> None:
    raw = await hub.raw()
    await raw.emit(None, "echo", {"text": "quiet"})
    await raw.emit(None, "fail", {"text": "quiet"})
    await raw.emit(None, "no:such", {})
    assert (await raw.call("nothing", {}))["ok"]
    assert hub.book.ran == ["quiet", "nothing"]


@pytest.mark.parametrize(
    "frame",
    [
        '42["echo"',
        "42",
        "42{}",
        "42[]",
        '42["echo",{"text":NaN}]',
        '42["echo",{"text":"\\ud83d"}]',
        "42" + "9" * 40 + '["echo",{"text":"a"}]',
        "42" + "[" * 5000,
        "43",
        "430[]",
        '44{"message":"no"}',
        "4",
        "49",
        "40{",
        '42/admin,["echo",{"text":"a"}]',
        '451-["echo",{"_placeholder":true,"num":0}]',
        '461-0[{"_placeholder":true,"num":0}]',
        "2probe",
        "2",
        "5",
        "6",
        "x",
        "",
        "bAAAA",
    ],
)
async def test_one_bad_frame_changes_nothing(hub: Hub, frame: str) -> None:
    raw = await hub.raw()
    await raw.say(frame)
    assert (await raw.call("nothing", {}))["ok"]
    assert hub.book.ran == ["nothing"]
    assert hub.counted("wenzhen_bad_frames_total") == 1


@pytest.mark.parametrize("body", ['["echo"', '["echo",{"text":"\\ud83d"}]', "[7]", '{"a":1}', ""])
async def test_a_broken_event_is_answered_where_it_has_a_number(hub: Hub, body: str) -> None:
    raw = await hub.raw()
    await raw.say("427" + body)
    number, answer = await raw.acknowledgement()
    assert number == 7
    assert code(answer) == "bad_request"


async def test_binary_is_refused_also_after_its_announcement(hub: Hub) -> None:
    raw = await hub.raw()
    await raw.say('451-["echo",{"_placeholder":true,"num":0}]')
    await raw.ws.send_bytes(b"text")
    assert (await raw.call("nothing", {}))["ok"]
    assert hub.book.ran == ["nothing"]
    assert hub.counted("wenzhen_bad_frames_total") == 2


async def test_invalid_utf8_is_a_bad_frame(hub: Hub) -> None:
    raw = await hub.raw()
    for frame in (b"\xff\xfe", b'427["echo",{"text":"\xff"}]', b"40\xff"):
        await raw.ws.send_frame(frame, 1)  # type: ignore[arg-type]  # text, which no str can be
    number, answer = await raw.acknowledgement()
    assert (number, code(answer)) == (7, "bad_request")
    assert (await raw.call("nothing", {}))["ok"]


async def test_a_nul_is_refused_by_the_name_of_its_field(hub: Hub) -> None:
    raw = await hub.raw()
    answer = await raw.call("echo", {"text": "a\0b"})
    assert list(answer["error"]["fields"]) == ["text"]


async def test_deep_nesting_is_refused(hub: Hub) -> None:
    raw = await hub.raw()
    await raw.say('427["echo",{"text":' + "[" * 400 + "]" * 400 + "}]")
    assert code((await raw.acknowledgement())[1]) == "bad_request"
    assert (await raw.call("nothing", {}))["ok"]


async def test_a_client_that_keeps_sending_nonsense_is_cut(start: Start) -> None:
    hub = await start(bad_frames_max=3)
    raw = await hub.raw()
    for _ in range(3):
        await raw.say("garbage")
    await raw.emit(1, "echo", {"text": "after"})
    assert await raw.closed() == 1008
    assert hub.book.ran == []


async def test_a_frame_over_the_limit_closes_the_socket(hub: Hub) -> None:
    raw = await hub.raw()
    await raw.emit(1, "echo", {"text": "x" * 65_536})
    assert await raw.closed() == 1009
    assert hub.book.ran == []


async def test_a_flood_is_told_when_to_come_back(start: Start) -> None:
    limits = {"default": {"burst": 2, "per_second": 0.5}, "commands": {}}
    hub = await start(limits=limits)
    raw, other_device = await hub.raw("ann"), await hub.raw("ann")
    assert (await raw.call("nothing", {}))["ok"]
    assert (await other_device.call("nothing", {}))["ok"]
    answer = await raw.call("nothing", {})
    assert code(answer) == "rate_limited"
    assert 0 < answer["error"]["retry_after_ms"] <= 2001
    assert (await raw.call("echo", {"text": "another bucket"}))["ok"]
    assert (await (await hub.raw("bob")).call("nothing", {}))["ok"]


async def test_unknown_names_share_one_bucket_and_one_metric(start: Start) -> None:
    hub = await start(limits={"default": {"burst": 2, "per_second": 0.5}, "commands": {}})
    raw = await hub.raw()
    codes = [code(await raw.call(f"made:up:{n}", {})) for n in range(3)]
    assert codes == ["bad_request", "bad_request", "rate_limited"]
    assert hub.counted("wenzhen_command_seconds_count", command="unknown") == 3
    assert (
        hub.registry.get_sample_value("wenzhen_command_seconds_count", {"command": "made:up:0"})
        is None
    )
