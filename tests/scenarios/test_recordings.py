"""Recordings through the wire: who may play them, in parts, and what remains of that (V8)."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.command import wenzhen
from tests.scenarios.calling import Hall, Pair, hall, pair
from tests.scenarios.conftest import Advance, Enter
from tests.scenarios.people import OPERATOR
from tests.scenarios.recorded import recorded, running
from tests.scenarios.records import database_of, read_whole
from tests.scenarios.test_operator import ADMIN, trail
from tests.server import ServerProcess

__all__ = ["hall", "pair"]


async def link(pair: Pair, recording: str, who: str = "doctor") -> Any:
    token = pair.row[f"{who}_token"]
    status, body = await pair.hall.rest(token, "POST", f"/recordings/{recording}/link", {})
    assert status == 200, body
    return body


async def fetch(
    pair: Pair, url: str, method: str = "GET", **headers: str
) -> tuple[int, bytes, Any]:
    address = pair.hall.url + url
    async with pair.hall.http.request(method, address, headers=headers) as answer:
        return answer.status, await answer.read(), answer.headers


@pytest.mark.rule("V8", "S1")
async def test_a_recorded_call_is_kept_with_its_digest_in_the_rooms_chain(
    pair: Pair, clocked: ServerProcess
) -> None:
    call = await pair.connected()

    shown = await recorded(clocked, pair, call)

    users = {pair.doctor.user, pair.patient.user}
    assert {(t["user"], t["kind"]) for t in shown["tracks"]} == {
        (user, kind) for user in users for kind in ("audio", "video")
    }
    assert abs(shown["duration_ms"] - 6000) < 500
    assert (shown["call"], shown["mime"], shown["poster"]) == (call, "video/webm", True)
    told = await pair.patient.wire.event(
        "message:new", lambda message: message["body"].get("recording") == shown["id"]
    )
    assert told["body"]["text"].startswith("通话录制已保存，时长 00:00:0")
    async with database_of(clocked) as database:
        messages = await read_whole(database, pair.row["room"])
    (line,) = [m for m in messages if m.body.get("recording") == shown["id"]]
    assert line.body["sha256"] == shown["sha256"]
    _, film, _ = await fetch(pair, (await link(pair, shown["id"]))["url"])
    assert hashlib.sha256(film).hexdigest() == shown["sha256"]


@pytest.mark.rule("V8")
async def test_both_sides_play_it_in_parts(pair: Pair, clocked: ServerProcess) -> None:
    shown = await recorded(clocked, pair, await pair.connected())
    consultation = pair.row["consultation"]

    for who in ("doctor", "patient"):
        token = pair.row[f"{who}_token"]
        _, listed = await pair.hall.rest(token, "GET", f"/recordings?consultation={consultation}")
        assert listed["items"] == [shown]
        signed = await link(pair, shown["id"], who)
        status, film, headers = await fetch(pair, signed["url"])
        assert (status, len(film)) == (200, shown["size"])
        assert headers["Content-Type"] == "video/webm"
        status, part, headers = await fetch(pair, signed["url"], Range="bytes=1000-1999")
        assert (status, part) == (206, film[1000:2000])
        assert headers["Content-Range"] == f"bytes 1000-1999/{shown['size']}"
        status, nothing, headers = await fetch(pair, signed["url"], "HEAD")
        assert (status, nothing, headers["Content-Length"]) == (200, b"", str(shown["size"]))
        status, _, _ = await fetch(pair, signed["url"], Range=f"bytes={shown['size']}-")
        assert status == 416
        _, picture, headers = await fetch(pair, signed["poster_url"])
        assert headers["Content-Type"] == "image/jpeg"
        with Image.open(io.BytesIO(picture)) as poster:
            assert poster.size == (160, 120)


@pytest.mark.rule("V8", "S4")
async def test_each_address_given_out_is_audited_and_strangers_get_none(
    pair: Pair, hall: Hall, clocked: ServerProcess, enter_as: Enter
) -> None:
    shown = await recorded(clocked, pair, await pair.connected())
    other = await Pair.make(hall)
    path = f"/recordings/{shown['id']}"
    operator, admin = await enter_as(OPERATOR), await enter_as(ADMIN)

    for who in ("doctor", "patient"):
        token = other.row[f"{who}_token"]
        for method, of, body in (("GET", path, None), ("POST", f"{path}/link", {})):
            status, refused = await hall.rest(token, method, of, body)
            assert (status, refused["code"]) == (403, "forbidden")
        listing = f"/recordings?consultation={pair.row['consultation']}"
        _, listed = await hall.rest(token, "GET", listing)
        assert listed["items"] == []
    status, refused = await operator.refused("POST", f"{path}/link")
    assert (status, list(refused["fields"])) == (400, ["purpose"])
    signed = await operator.post(f"{path}/link", {"purpose": "处理投诉"})
    await link(pair, shown["id"])

    assert (await fetch(pair, signed["url"]))[0] == 200
    opened = [
        (entry["actor"], entry["purpose"], entry["details"])
        for entry in await trail(admin, pair.patient.user)
        if entry["action"] == "recording_opened"
    ]
    details = {"recording": shown["id"]}
    assert opened == [
        (pair.doctor.user, "own_call", details), (operator.id, "处理投诉", details),
    ]  # fmt: skip


@pytest.mark.rule("V8")
async def test_an_address_altered_or_old_opens_nothing(
    pair: Pair, clocked: ServerProcess, advance: Advance
) -> None:
    shown = await recorded(clocked, pair, await pair.connected())
    signed = await link(pair, shown["id"])
    url = signed["url"]

    altered = [
        url.replace("sig=", "sig=0"),
        url.replace("t=0", "t=1"),
        url.replace(f"u={pair.doctor.user}", f"u={pair.patient.user}"),
        url.replace("/recordings/", "/files/").replace("/content", ""),
        url.partition("?")[0],
    ]
    for wrong in altered:
        assert wrong != url
        assert (await fetch(pair, wrong))[0] == 403
    assert (await fetch(pair, url))[0] == 200
    # a film can be watched to its end
    await advance(600)
    assert (await fetch(pair, url))[0] == 200
    await advance(7)
    assert (await fetch(pair, url))[0] == 403


async def test_a_recording_that_runs_cannot_be_played_yet(
    pair: Pair, clocked: ServerProcess
) -> None:
    recording = await running(clocked, await pair.connected())
    token = pair.row["patient_token"]

    status, shown = await pair.hall.rest(token, "GET", f"/recordings/{recording}")
    assert (status, shown["state"], shown["duration_ms"]) == (200, "running", None)
    status, refused = await pair.hall.rest(token, "POST", f"/recordings/{recording}/link", {})
    assert (status, refused["code"]) == (409, "conflict")


@pytest.mark.rule("V8", "S1", "S2")
async def test_a_record_is_exported_with_its_films_and_shows_where_one_was_altered(
    pair: Pair, clocked: ServerProcess, tmp_path: Path
) -> None:
    call = await pair.connected()
    shown = await recorded(clocked, pair, call)
    unfinished = await running(clocked, call)
    consultation, out = pair.row["consultation"], tmp_path / "record.zip"
    beside = ("--data", str(clocked.data), consultation)

    assert await wenzhen("record", "export", "--out", str(out), *beside) == (0, f"{out}\n", "")

    with zipfile.ZipFile(out) as archive:
        kept = {one["id"]: one for one in json.loads(archive.read("record.json"))["recordings"]}
        film = archive.read(kept[shown["id"]]["file"])
        assert hashlib.sha256(film).hexdigest() == shown["sha256"]
        with Image.open(archive.open(f"recordings/{shown['id']}.jpg")) as poster:
            assert poster.size == (160, 120)
        assert (kept[unfinished]["state"], kept[unfinished]["file"]) == ("running", None)
        page = archive.read("index.html").decode()
    assert f'src="{kept[shown["id"]]["file"]}"' in page
    assert "录制尚未保存" in page

    code, said, _ = await wenzhen("record", "verify", *beside)
    assert (code, said[:19]) == (0, "The record is whole")
    async with database_of(clocked) as database:
        chunks = database.db["films.chunks"]
        (name,) = [
            row["blob"] async for row in database.db["recordings"].find({"_id": shown["id"]})
        ]
        chunk = await chunks.find_one({"files_id": name, "n": 0})
        assert chunk is not None
        *kept_bytes, last = bytes(chunk["data"])
        altered = bytes([*kept_bytes, last ^ 1])
        await chunks.update_one({"_id": chunk["_id"]}, {"$set": {"data": altered}})
    code, _, said = await wenzhen("record", "verify", *beside)
    assert code == 1
    assert f"the film of recording {shown['id']} is altered or missing" in said
