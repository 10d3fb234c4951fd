"""Recognise an upload by its first bytes; neither its name nor its declared type counts."""

from enum import StrEnum

from care.errors import BadRequest
from companion.probe.walks import after_id3

ACCEPTED = "只支持 jpg、png、webp 图片，aac、mp3、amr、m4a 语音和 mp4 视频"

HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis"}
)

REFUSED = (
    (b"GIF8", "不支持 GIF 动图，请转为 jpg 或 png 后上传"),
    (b"BM", "不支持 BMP 图片，请转为 jpg 或 png 后上传"),
    (b"II*\0", "不支持 TIFF 图片，请转为 jpg 或 png 后上传"),
    (b"MM\0*", "不支持 TIFF 图片，请转为 jpg 或 png 后上传"),
    (b"#!AMR-WB\n", "不支持宽带 AMR（AMR-WB），请使用 aac、mp3、m4a 或普通 amr"),
)


class Format(StrEnum):
    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    AAC = "aac"
    MP3 = "mp3"
    AMR = "amr"
    MP4 = "mp4"
    """Also m4a: which of the two, its streams say."""


IMAGES = frozenset({Format.JPEG, Format.PNG, Format.WEBP})


def recognise(data: bytes) -> Format:
    """Say what the content is. Raises BadRequest for what the hospital doesn't take."""
    for prefix, why in REFUSED:
        if data.startswith(prefix):
            raise BadRequest.field("file", why)
    if data.startswith(b"\xff\xd8\xff"):
        return Format.JPEG
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return Format.PNG
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Format.WEBP
    if data.startswith(b"#!AMR\n"):
        return Format.AMR
    if data[4:8] == b"ftyp":
        return _recognise_brand(data[8:12])
    return _recognise_frames(data)


def _recognise_brand(brand: bytes) -> Format:
    if brand in HEIF_BRANDS:
        raise BadRequest.field(
            "file",
            "不支持 HEIC/HEIF 图片：请在手机“设置-相机-格式”中选择“兼容性最佳”，或转为 jpg 后上传",
        )
    if brand == b"qt  ":
        raise BadRequest.field("file", "不支持 MOV 视频，请转为 mp4 后上传")
    return Format.MP4


def _recognise_frames(data: bytes) -> Format:
    """Tell the two that have no signature by the layer bits of their first frame's header."""
    at = after_id3(data)
    if len(data) >= at + 4 and data[at] == 0xFF and data[at + 1] & 0xE0 == 0xE0:
        layer = data[at + 1] >> 1 & 3
        if layer == 0 and data[at + 1] & 0xF0 == 0xF0:
            return Format.AAC
        if layer == 1:
            return Format.MP3
    raise BadRequest.field("file", ACCEPTED)
