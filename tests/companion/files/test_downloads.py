"""Who reads an attachment, for how long, and which part of it."""

import asyncio
import io
from urllib.parse import parse_qsl, urlencode

import pytest
from PIL import Image

from care.attachments import FileKind
from care.errors import Forbidden
from storage.database import Database
from storage.files import READ_BYTES
from tests.companion.files.server import FilesServer
from tests.media.pictures import picture
from tests.media.recordings import video, voice

pytestmark = pytest.mark.rule("R6")

JPEG = picture("JPEG")


async def stored_voice(files: FilesServer, data: bytes) -> str:
    answer = await files.upload(data)
    assert answer.status == 201, answer.json
    return str(answer.json["id"])


def url_for(files: FilesServer, file: str, viewer: str) -> str:
    return files.service.urls(file, viewer, thumbnail=False)["url"]


async def test_what_comes_back_can_do_nothing_in_a_browser(files: FilesServer) -> None:
    answer = await files.upload(JPEG, name='"><script>.html', declared="text/html")
    stored = await files.get(answer.json["url"])
    assert stored.headers["Content-Type"] == "image/jpeg"
    assert stored.headers["Content-Disposition"] == f'inline; filename="{answer.json["id"]}.jpg"'
    assert stored.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in stored.headers["Content-Security-Policy"]
    assert stored.headers["Cache-Control"].startswith("private")


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=0-99", slice(0, 100)),
        ("bytes=1000-", slice(1000, None)),
        ("bytes=-500", slice(-500, None)),
        (f"bytes={READ_BYTES - 10}-{READ_BYTES + 10}", slice(READ_BYTES - 10, READ_BYTES + 11)),
        (f"bytes={READ_BYTES}-", slice(READ_BYTES, None)),
        ("bytes=5-99999999", slice(5, None)),
        ("bytes=-99999999", slice(0, None)),
    ],
)
async def test_a_range_gives_that_part(files: FilesServer, asked: str, part: slice) -> None:
    answer = await files.upload(_large())
    whole = (await files.get(answer.json["url"])).raw
    assert len(whole) > 2 * READ_BYTES
    got = await files.get(answer.json["url"], Range=asked)
    assert (got.status, got.raw) == (206, whole[part])
    start, stop, _ = part.indices(len(whole))
    assert got.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(whole)}"
    assert int(got.headers["Content-Length"]) == stop - start


def _large() -> bytes:
    """Give a video with more bytes than two chunks hold."""
    noise = Image.effect_noise((900, 900), 100)
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    return buffer.getvalue()


async def test_a_range_behind_the_end_says_how_long_it_is(files: FilesServer) -> None:
    answer = await files.upload(JPEG)
    got = await files.get(answer.json["url"], Range="bytes=999999-")
    assert (got.status, got.headers["Content-Range"]) == (416, f"bytes */{answer.json['size']}")
    assert got.json["code"] == "bad_request"


async def test_headers_alone_are_those_of_the_whole(files: FilesServer) -> None:
    answer = await files.upload(JPEG)
    whole = await files.get(answer.json["url"])
    head = await files.send("HEAD", answer.json["url"], headers={"Range": "bytes=0-1"})
    assert (head.status, head.raw) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Accept-Ranges"):
        assert head.headers[name] == whole.headers[name]


async def test_what_the_browser_has_is_not_sent_again(files: FilesServer) -> None:
    answer = await files.upload(JPEG)
    url = answer.json["url"]
    etag = (await files.get(url)).headers["ETag"]
    assert etag == f'"{answer.json["sha256"]}"'
    unchanged = await files.get(url, If_None_Match=etag)
    assert (unchanged.status, unchanged.raw) == (304, b"")
    assert (await files.get(url, If_None_Match='"other"')).status == 200
    assert (await files.get(url, Range="bytes=0-1", If_Range=etag)).status == 206
    assert (await files.get(url, Range="bytes=0-1", If_Range='"other"')).status == 200
    small = await files.get(answer.json["thumbnail_url"])
    assert small.headers["ETag"] != etag


@pytest.mark.parametrize(
    "change", [{"exp": "99999999999"}, {"u": "bob"}, {"t": "1"}, {"sig": "0" * 64}, {"sig": "é"}]
)
async def test_an_altered_url_is_forbidden(files: FilesServer, change: dict[str, str]) -> None:
    path, _, query = (await files.upload(JPEG)).json["url"].partition("?")
    assert (await files.get(f"{path}?{query}")).status == 200
    altered = urlencode(dict(parse_qsl(query)) | change)
    refused = await files.get(f"{path}?{altered}")
    assert (refused.status, refused.json["code"]) == (403, "forbidden")
    for name in change:
        rest = urlencode([(k, v) for k, v in parse_qsl(query) if k != name])
        assert (await files.get(f"{path}?{rest}")).status == 403


async def test_there_is_no_thumbnail_of_a_voice(files: FilesServer) -> None:
    file = await stored_voice(files, voice("amr", 1))
    url = files.service.urls(file, "ann", thumbnail=True)["thumbnail_url"]
    assert (await files.get(url)).status == 403


async def test_a_url_is_for_one_file(files: FilesServer) -> None:
    one, two = [(await files.upload(JPEG)).json for _ in range(2)]
    query = one["url"].partition("?")[2]
    assert (await files.get(f"/api/v1/files/{two['id']}?{query}")).status == 403
    assert (await files.get(f"/api/v1/files/unknown?{query}")).status == 403
    assert (await files.get(f"/api/v1/files/{one['id']}")).status == 403


async def test_a_url_ends(files: FilesServer) -> None:
    url = (await files.upload(JPEG)).json["url"]
    files.clock.advance(599)
    assert (await files.get(url)).status == 200
    files.clock.advance(1)
    assert (await files.get(url)).status == 403


async def test_an_unused_upload_is_its_owner_s_alone(files: FilesServer) -> None:
    file = (await files.upload(JPEG)).json["id"]
    assert (await files.get(url_for(files, file, "ann"))).status == 200
    assert (await files.get(url_for(files, file, "bob"))).status == 403


async def test_a_room_s_members_read_it_as_long_as_they_are_members(files: FilesServer) -> None:
    file = (await files.upload(JPEG)).json["id"]
    files.rooms.members["r1"] = {"ann", "doc"}
    body = await files.service.claim(file, "ann", "r1", "image")
    assert (body["file"], body["thumbnail"], body["width"]) == (file, True, 60)
    url = url_for(files, file, "doc")
    assert (await files.get(url)).status == 200
    files.rooms.members["r1"] = {"ann"}
    assert (await files.get(url)).status == 403
    assert (await files.get(url_for(files, file, "eve"))).status == 403


async def test_a_file_is_used_in_one_room_by_its_owner_as_what_it_is(files: FilesServer) -> None:
    file = (await files.upload(JPEG)).json["id"]
    for owner, kind in (("bob", "image"), ("ann", "voice")):
        with pytest.raises(Forbidden):
            await files.service.claim(file, owner, "r1", kind)
    first = await files.service.claim(file, "ann", "r1", "image")
    assert await files.service.claim(file, "ann", "r1", "image") == first
    with pytest.raises(Forbidden):
        await files.service.claim(file, "ann", "r2", "image")
    with pytest.raises(Forbidden):
        await files.service.claim("unknown", "ann", "r1", "image")


async def test_of_many_rooms_at_once_one_gets_the_file(files: FilesServer) -> None:
    file = (await files.upload(JPEG)).json["id"]
    claims = [files.service.claim(file, "ann", f"r{n}", "image") for n in range(20)]
    results = await asyncio.gather(*claims, return_exceptions=True)
    assert len([r for r in results if not isinstance(r, Forbidden)]) == 1
    winner = next(n for n, r in enumerate(results) if not isinstance(r, Forbidden))
    attachment = await files.store.get(file)
    assert attachment is not None
    assert attachment.room == f"r{winner}"


async def test_a_form_s_images_are_bound_all_or_none(files: FilesServer) -> None:
    mine = [(await files.upload(JPEG)).json["id"] for _ in range(2)]
    voice_file = await stored_voice(files, voice("amr", 1))
    for bad in (voice_file, "unknown"):
        with pytest.raises(Forbidden):
            await files.store.claim([*mine, bad], "ann", "r1", FileKind.IMAGE)
    for file in mine:
        attachment = await files.store.get(file)
        assert attachment is not None
        assert attachment.room is None
    for again in (mine, mine, []):
        await files.store.claim(again, "ann", "r1", FileKind.IMAGE)


async def test_unused_uploads_go_after_a_day_and_used_ones_stay(
    files: FilesServer, database: Database
) -> None:
    unused, used = [(await files.upload(JPEG)).json["id"] for _ in range(2)]
    await files.service.claim(used, "ann", "r1", "image")
    files.clock.advance(86_000)
    young = (await files.upload(video())).json["id"]
    assert await files.service.sweep(files.clock.now()) == 0
    files.clock.advance(401)
    assert await files.service.sweep(files.clock.now()) == 1
    assert await files.store.get(unused) is None
    for file in (used, young):
        assert await files.store.get(file) is not None
    assert await database["attachments.files"].count_documents({}) == 4
    assert await database["loose_blobs"].count_documents({}) == 0


async def test_bytes_left_behind_by_a_crash_are_swept(
    files: FilesServer, database: Database
) -> None:
    attachment = (await files.upload(JPEG)).json["id"]
    # what a server killed in the middle of an upload leaves: some chunks, and the note of them
    await database["loose_blobs"].insert_one({"_id": "b", "created_at": files.clock.now()})
    await database["attachments.chunks"].insert_one({"files_id": "b", "n": 0, "data": b"x"})
    await files.service.claim(attachment, "ann", "r1", "image")
    files.clock.advance(90_000)
    assert await files.service.sweep(files.clock.now()) == 0
    assert await database["attachments.chunks"].count_documents({"files_id": "b"}) == 0
    assert await database["loose_blobs"].count_documents({}) == 0
    assert await database["attachments.chunks"].count_documents({}) == 2


async def test_claiming_and_sweeping_at_once_never_lose_a_used_file(files: FilesServer) -> None:
    mine = [(await files.upload(JPEG)).json["id"] for _ in range(10)]
    files.clock.advance(90_000)
    results = await asyncio.gather(
        files.service.sweep(files.clock.now()),
        *(files.service.claim(file, "ann", "r1", "image") for file in mine),
        return_exceptions=True,
    )
    swept, claims = results[0], results[1:]
    assert swept == len([c for c in claims if isinstance(c, Forbidden)])
    for file, claimed in zip(mine, claims, strict=True):
        found = await files.store.get(file)
        assert (found is None) == isinstance(claimed, Forbidden)
        if found:
            read = files.store.read(found, thumbnail=False, start=0, stop=found.size)
            assert len(b"".join([chunk async for chunk in read])) == found.size


async def test_a_client_that_leaves_in_the_middle_disturbs_nobody(files: FilesServer) -> None:
    answer = await files.upload(_large())
    async with files.client.get(answer.json["url"]) as response:
        await response.content.read(10)
        response.close()
    assert len((await files.get(answer.json["url"])).raw) == answer.json["size"]
