"""What an upload becomes, through the real server, worker process and database."""

import asyncio
import io
from typing import Any

import aiohttp
import av
import pytest
from PIL import Image

from care.policy import FilePolicy
from companion.probe.inspector import Inspector
from storage.database import Database
from tests.companion.files.server import FilesServer, serving
from tests.media import pictures, recordings
from tests.media.pictures import SECRET, ZIP_TAIL, halves, picture, with_metadata
from tests.media.recordings import video, voice

pytestmark = pytest.mark.rule("R6")


def near(image: Image.Image, at: tuple[int, int], colour: tuple[int, ...]) -> bool:
    found = image.convert("RGB").getpixel(at)
    assert isinstance(found, tuple)
    return all(abs(a - b) < 40 for a, b in zip(found, colour, strict=True))


RED, BLUE = (220, 20, 20), (20, 20, 220)


@pytest.mark.parametrize(
    ("form", "mime"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")]
)
async def test_an_image_keeps_its_pixels_and_loses_its_metadata(
    files: FilesServer, form: str, mime: str
) -> None:
    sent = with_metadata(form)
    assert SECRET.encode() in sent
    answer = await files.upload(sent, kind="image")
    assert answer.status == 201, answer.json
    stored = await files.get(answer.json["url"])
    assert (stored.status, stored.headers["Content-Type"]) == (200, mime)
    assert answer.json["size"] == len(stored.raw)
    assert (answer.json["mime"], answer.json["kind"]) == (mime, "image")
    assert SECRET.encode() not in stored.raw
    image = Image.open(io.BytesIO(stored.raw))
    assert (image.format, image.size) == (form, (60, 40))
    assert (answer.json["width"], answer.json["height"]) == (60, 40)
    assert not image.getexif()
    assert not {"icc_profile", "comment", "xmp", "exif", "Comment"} & set(image.info)
    assert near(image, (5, 20), RED)
    assert near(image, (55, 20), BLUE)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
async def test_a_turned_image_is_stored_upright(files: FilesServer, form: str) -> None:
    answer = await files.upload(with_metadata(form, orientation=6))
    assert (answer.json["width"], answer.json["height"]) == (40, 60)
    for url in (answer.json["url"], answer.json["thumbnail_url"]):
        image = Image.open(io.BytesIO((await files.get(url)).raw))
        # turned clockwise: what was on the left is on top
        assert near(image, (20, 5), RED)
        assert near(image, (20, 55), BLUE)


async def test_a_large_image_is_made_smaller_and_has_a_thumbnail(files: FilesServer) -> None:
    answer = await files.upload(picture("JPEG", halves(5000, 1000)))
    assert (answer.json["width"], answer.json["height"]) == (4096, 819)
    small = await files.get(answer.json["thumbnail_url"])
    image = Image.open(io.BytesIO(small.raw))
    assert (image.format, image.size) == ("JPEG", (320, 64))
    assert small.headers["Content-Type"] == "image/jpeg"


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
async def test_transparency_is_kept_and_white_in_the_thumbnail(
    files: FilesServer, form: str
) -> None:
    clear = Image.new("RGBA", (50, 50), (0, 0, 0, 0))
    answer = await files.upload(picture(form, clear))
    stored = Image.open(io.BytesIO((await files.get(answer.json["url"])).raw))
    assert stored.mode == "RGBA"
    small = Image.open(io.BytesIO((await files.get(answer.json["thumbnail_url"])).raw))
    assert near(small, (25, 25), (255, 255, 255))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I;16"])
async def test_images_of_every_mode_are_shown_as_they_are(files: FilesServer, mode: str) -> None:
    grey = Image.new("L", (40, 40), 128 if mode != "1" else 255)
    image = grey.convert(mode) if mode != "I;16" else Image.new("I;16", (40, 40), 128 * 256)
    answer = await files.upload(picture("JPEG" if mode == "CMYK" else "PNG", image))
    assert answer.status == 201, answer.json
    stored = Image.open(io.BytesIO((await files.get(answer.json["url"])).raw))
    level = 255 if mode == "1" else 128
    assert near(stored, (20, 20), (level, level, level))


async def test_the_first_of_a_phone_s_several_pictures_is_kept(files: FilesServer) -> None:
    answer = await files.upload(pictures.multi_picture())
    assert (answer.status, answer.json["width"]) == (201, 60)
    stored = await files.get(answer.json["url"])
    assert stored.raw.count(b"\xff\xd8\xff") == 1


@pytest.mark.parametrize(
    ("form", "mime"),
    [("adts", "audio/aac"), ("mp3", "audio/mpeg"), ("amr", "audio/amr"), ("ipod", "audio/mp4")],
)
async def test_a_voice_of_sixty_seconds_is_taken_and_of_sixty_one_refused(
    files: FilesServer, form: str, mime: str
) -> None:
    answer = await files.upload(voice(form, 60, metadata=recordings.SIDE_DATA), kind="voice")
    assert answer.status == 201, answer.json
    assert (answer.json["kind"], answer.json["mime"]) == ("voice", mime)
    assert 60_000 <= answer.json["duration_ms"] <= 60_200
    assert "thumbnail_url" not in answer.json
    stored = await files.get(answer.json["url"])
    assert SECRET.encode() not in stored.raw
    assert _seconds(stored.raw) == pytest.approx(60, abs=0.3)
    refused = await files.upload(voice(form, 61))
    assert refused.status == 400
    assert "60 秒" in refused.json["fields"]["file"]


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("sound", [True, False])
async def test_a_video_is_taken_without_its_metadata_and_gets_a_poster(
    files: FilesServer, codec: str, sound: bool
) -> None:
    sent = video(2, codec=codec, sound=sound)
    assert SECRET.encode() in sent
    answer = await files.upload(sent, kind="video")
    assert answer.status == 201, answer.json
    assert (answer.json["kind"], answer.json["mime"]) == ("video", "video/mp4")
    assert (answer.json["width"], answer.json["height"]) == (64, 32)
    assert 2000 <= answer.json["duration_ms"] <= 2200
    stored = await files.get(answer.json["url"])
    assert SECRET.encode() not in stored.raw
    assert b"31.2304" not in stored.raw
    assert stored.raw.index(b"moov") < stored.raw.index(b"mdat")
    assert _seconds(stored.raw) == pytest.approx(2, abs=0.3)
    poster = Image.open(io.BytesIO((await files.get(answer.json["thumbnail_url"])).raw))
    assert near(poster, (8, 16), RED)
    assert near(poster, (56, 16), BLUE)


async def test_a_video_filmed_sideways_is_described_as_it_is_seen(files: FilesServer) -> None:
    # the matrix of a phone held upright: shown a quarter turn clockwise
    answer = await files.upload(video(turn=-90))
    assert (answer.json["width"], answer.json["height"]) == (32, 64)
    poster = Image.open(io.BytesIO((await files.get(answer.json["thumbnail_url"])).raw))
    assert near(poster, (16, 8), RED)
    assert near(poster, (16, 56), BLUE)
    stored = (await files.get(answer.json["url"])).raw
    with av.open(io.BytesIO(stored), "r") as container:
        assert next(container.decode(video=0)).rotation == -90


async def test_a_video_over_sixty_seconds_is_refused(files: FilesServer) -> None:
    assert (await files.upload(video(60))).status == 201
    refused = await files.upload(video(61))
    assert (refused.status, list(refused.json["fields"])) == (400, ["file"])


def _seconds(data: bytes) -> float:
    with av.open(io.BytesIO(data), "r") as container:
        sizes = [float((p.duration or 0) * p.time_base) for p in container.demux() if p.size]
        return sum(sizes) / len(container.streams)


def _animation(form: str) -> bytes:
    return picture(form, halves(), save_all=True, append_images=[halves().rotate(90)])


JPEG, PNG, WEBP = (picture(form) for form in ("JPEG", "PNG", "WEBP"))
CLIP = video()
PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
CONCAT = b"ffconcat version 1.0\nfile /etc/passwd\n"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(pictures.HEIC, "兼容性最佳", id="heic"),
        pytest.param(pictures.HEIC.replace(b"heic", b"mif1"), "兼容性最佳", id="heif"),
        pytest.param(pictures.HEIC.replace(b"heic", b"avif"), "HEIF", id="avif"),
        pytest.param(picture("GIF"), "GIF", id="gif"),
        pytest.param(picture("BMP"), "BMP", id="bmp"),
        pytest.param(picture("TIFF"), "TIFF", id="tiff"),
        pytest.param(pictures.SVG, "只支持", id="svg"),
        pytest.param(pictures.HTML, "只支持", id="html"),
        pytest.param(b"%PDF-1.7\n%%EOF", "只支持", id="pdf"),
        pytest.param(ZIP_TAIL, "只支持", id="zip"),
        pytest.param(b"MZ" + bytes(100), "只支持", id="exe"),
        pytest.param(b"", "只支持", id="empty"),
        pytest.param(b"\xff", "只支持", id="one byte"),
        pytest.param(_animation("PNG"), "动图", id="apng"),
        pytest.param(_animation("WEBP"), "动图", id="animated webp"),
        pytest.param(JPEG + ZIP_TAIL, "末尾", id="jpeg and zip"),
        pytest.param(JPEG + pictures.HTML, "末尾", id="jpeg and html"),
        pytest.param(JPEG + bytes(64) + b"%PDF-1.7", "末尾", id="jpeg, padding and pdf"),
        pytest.param(JPEG + CLIP, "末尾", id="motion photo"),
        pytest.param(PNG + ZIP_TAIL, "末尾", id="png and zip"),
        pytest.param(WEBP + ZIP_TAIL, "末尾", id="webp and zip"),
        pytest.param(CLIP + ZIP_TAIL, "末尾", id="mp4 and zip"),
        pytest.param(voice("adts", 1) + ZIP_TAIL, "末尾", id="aac and zip"),
        pytest.param(voice("mp3", 1) + ZIP_TAIL, "末尾", id="mp3 and zip"),
        pytest.param(voice("amr", 1) + ZIP_TAIL, "末尾", id="amr and zip"),
        pytest.param(JPEG[:-10], "损坏", id="cut jpeg"),
        pytest.param(PNG[:-20], "损坏", id="cut png"),
        pytest.param(WEBP[:-10], "损坏", id="cut webp"),
        pytest.param(CLIP[:-10], "损坏", id="cut mp4"),
        pytest.param(CLIP[:40], "损坏", id="mp4 without index"),
        pytest.param(b"\xff\xd8\xff\xd9", "损坏", id="jpeg of nothing"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "损坏", id="png of nothing"),
        pytest.param(b"#!AMR\n", "损坏", id="amr of nothing"),
        pytest.param(b"#!AMR-WB\n\x04", "AMR-WB", id="wide-band amr"),
        pytest.param(video(form="mov"), "MOV", id="mov"),
        pytest.param(video(form="matroska"), "只支持", id="matroska"),
        pytest.param(video(codec="mpeg4"), "编码", id="mpeg-4 part 2"),
        pytest.param(recordings.two_voices(), "一路声音", id="two sound tracks"),
        pytest.param(recordings.repeating_m4a(), "损坏", id="index that repeats bytes"),
        pytest.param(recordings.hurried_m4a(61), "60 秒", id="duration that lies"),
        pytest.param(PLAYLIST, "只支持", id="playlist"),
        pytest.param(CONCAT, "只支持", id="concat list"),
        pytest.param(b"\0\0\0\x08ftypisom" + PLAYLIST, "损坏", id="playlist as mp4"),
        pytest.param(b"ID3\4\0\0\0\0\0\0" + PLAYLIST, "只支持", id="playlist as mp3"),
        pytest.param(b"#!AMR\n" + PLAYLIST, "损坏", id="playlist as amr"),
    ],
)
async def test_what_is_not_accepted_is_refused_with_a_reason(
    files: FilesServer, data: bytes, says: str
) -> None:
    # neither the name nor the declared type helps
    for name, declared in (("x.jpg", "image/jpeg"), ("x.mp4", "video/mp4")):
        refused = await files.upload(data, name=name, declared=declared)
        assert (refused.status, refused.json["code"]) == (400, "bad_request")
        assert says in refused.json["fields"]["file"]


async def test_a_playlist_in_disguise_makes_nobody_read_what_it_names(files: FilesServer) -> None:
    visitors: list[str] = []

    async def visited(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitors.append("somebody")
        writer.close()

    async with await asyncio.start_server(visited, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        playlist = PLAYLIST.replace(b"file:///etc/passwd", b"http://127.0.0.1:%d/a.ts" % port)
        box = (8 + len(playlist)).to_bytes(4, "big")
        for disguise in (
            playlist,
            CLIP + box + b"free" + playlist,
            b"\0\0\0\x0cftypisom" + box + b"moov" + playlist + box + b"mdat" + playlist,
            b"ID3\4\0\0\0\0\0" + bytes([len(playlist)]) + playlist + voice("mp3", 1),
        ):
            answer = await files.upload(disguise)
            if answer.status == 201:
                assert b"EXTM3U" not in (await files.get(answer.json["url"])).raw
    assert visitors == []


async def test_a_colour_profile_is_applied_before_it_is_dropped(files: FilesServer) -> None:
    """Swap red and green by a profile, as a wide-gamut phone shifts them a little."""
    swapped = picture("PNG", halves(), icc_profile=pictures.swapped_profile())
    answer = await files.upload(swapped)
    stored = Image.open(io.BytesIO((await files.get(answer.json["url"])).raw))
    assert near(stored, (5, 20), (20, 220, 20))


async def test_zero_padding_behind_an_image_is_no_polyglot(files: FilesServer) -> None:
    assert (await files.upload(JPEG + bytes(100))).status == 201


async def test_a_recording_cut_in_its_last_frame_is_stored_without_it(files: FilesServer) -> None:
    for form in ("adts", "mp3", "amr"):
        answer = await files.upload(voice(form, 1)[:-5])
        assert answer.status == 201, answer.json


async def test_a_small_file_of_many_pixels_is_refused_before_it_is_decoded(
    files: FilesServer,
) -> None:
    refused = await files.upload(pictures.png_bomb(20_000))
    assert (refused.status, refused.json["code"]) == (413, "too_large")


async def test_a_declared_kind_must_be_the_real_one(files: FilesServer) -> None:
    refused = await files.upload(JPEG, kind="video")
    assert (refused.status, list(refused.json["fields"])) == (400, ["kind"])
    refused = await files.upload(JPEG, kind="movie")
    assert (refused.status, list(refused.json["fields"])) == (400, ["kind"])


async def test_each_kind_has_its_size(database: Database) -> None:
    policy = FilePolicy(image_max_bytes=1000, voice_max_bytes=2000, video_max_bytes=100_000)
    inspector = Inspector(policy)
    async with serving(database, inspector, policy) as files:
        for data in (JPEG + bytes(1000), voice("amr", 10), JPEG + bytes(200_000)):
            refused = await files.upload(data)
            assert (refused.status, refused.json["code"]) == (413, "too_large")
        assert (await files.upload(CLIP)).status == 201
    await inspector.close()


async def test_an_upload_is_cut_off_as_soon_as_it_is_too_large(files: FilesServer) -> None:
    """Send without a length; the answer comes although the sender isn't done."""
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        while sent < 80 * 2**20:
            sent += 2**20
            yield bytes(2**20)
        yield b"\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await files.send("POST", "/api/v1/files", user="ann", data=endless(), headers=headers)
    assert (answer.status, answer.json["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("body", "content_type", "field"),
    [
        (b"{}", "application/json", "Content-Type"),
        (b"", "multipart/form-data", "body"),
        (b"nonsense", "multipart/form-data; boundary=b", "body"),
        (b"--b--\r\n", "multipart/form-data; boundary=b", "file"),
        (b"--b\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b", "body"),
        (
            b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\nx\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
            "other",
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="kind"\r\n\r\nimage\r\n' * 2
            + b"--b--\r\n",
            "multipart/form-data; boundary=b",
            "kind",
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\ncut',
            "multipart/form-data; boundary=b",
            "body",
        ),
        (
            b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c--\r\n--b--\r\n",
            "multipart/form-data; boundary=b",
            "body",
        ),
    ],
)
async def test_a_body_that_is_no_upload_is_refused_by_name(
    files: FilesServer, body: bytes, content_type: str, field: str
) -> None:
    headers = {"Content-Type": content_type}
    refused = await files.send("POST", "/api/v1/files", user="ann", data=body, headers=headers)
    assert (refused.status, refused.json["code"]) == (400, "bad_request")
    assert list(refused.json["fields"]) == [field]


async def test_uploading_needs_a_log_in(files: FilesServer) -> None:
    assert (await files.upload(JPEG, user="")).status == 401


async def test_a_repeated_upload_is_kept_once(files: FilesServer, database: Database) -> None:
    key = {"Idempotency-Key": "k"}
    first = await files.upload(JPEG, headers=key)
    again = await files.upload(JPEG, headers=key)
    other = await files.upload(JPEG, headers=key, user="bob")
    assert first.json["id"] == again.json["id"] != other.json["id"]
    assert await database["attachments.files"].count_documents({}) == 4
    assert await database["loose_blobs"].count_documents({}) == 0


async def test_who_uploads_and_never_sends_is_stopped(
    database: Database, inspector: Inspector
) -> None:
    async with serving(database, inspector, FilePolicy(unused_max=2)) as files:
        for status in (201, 201, 429):
            assert (await files.upload(JPEG)).status == status
        assert (await files.upload(JPEG, user="bob")).status == 201


async def test_nothing_of_an_upload_stays_on_the_disk(
    files: FilesServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert (await files.upload(JPEG)).status == 201
    assert (await files.upload(pictures.HTML)).status == 400
    with pytest.raises(aiohttp.ClientError):
        await files.send("POST", "/api/v1/files", user="ann", data=_breaking_off())
    assert list(tmp_path.iterdir()) == []


async def _breaking_off() -> Any:
    yield b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
    raise aiohttp.ClientError
