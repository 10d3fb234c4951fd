"""Pictures of each format, with the metadata phones put into them."""

import io
import struct
import zlib
from typing import Any

from PIL import Image, ImageCms, PngImagePlugin

SECRET = "31.2304N 121.4737E"
"""Stands in every piece of metadata written here; no stored file may hold it."""

_GPS_IFD, _MAKE, _ORIENTATION, _DESCRIPTION = 0x8825, 0x010F, 0x0112, 0x010E


def halves(width: int = 60, height: int = 40, mode: str = "RGB") -> Image.Image:
    """Draw red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), (220, 20, 20))
    image.paste((20, 20, 220), (width // 2, 0, width, height))
    return image.convert(mode)


def picture(form: str, image: Image.Image | None = None, **saving: Any) -> bytes:
    buffer = io.BytesIO()
    (image or halves()).save(buffer, form, **saving)
    return buffer.getvalue()


def exif(orientation: int = 1) -> Image.Exif:
    """Give what a phone writes: maker, orientation, where the photo was taken."""
    written = Image.Exif()
    written[_MAKE] = SECRET
    written[_DESCRIPTION] = SECRET
    written[_ORIENTATION] = orientation
    written.get_ifd(_GPS_IFD)[29] = SECRET
    return written


def with_metadata(form: str, orientation: int = 1) -> bytes:
    """Give an image with EXIF, a comment, XMP, a profile: what its format can hold."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    saving: dict[str, Any] = {"exif": exif(orientation), "icc_profile": profile}
    if form == "JPEG":
        saving |= {"comment": SECRET, "xmp": SECRET.encode()}
    if form == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", SECRET)
        saving["pnginfo"] = text
    if form == "WEBP":
        saving["xmp"] = SECRET.encode()
    return picture(form, **saving)


def swapped_profile() -> bytes:
    """Give sRGB with its red and green primaries exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


def png_bomb(side: int) -> bytes:
    """Give a PNG of side × side grey pixels that is tiny as a file."""
    rows = zlib.compressobj(9)
    row = bytes(1 + side)
    data = b"".join(rows.compress(row) for _ in range(side)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, body) for name, body in chunks)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def multi_picture() -> bytes:
    """Give two JPEGs in one file, as phones write them for HDR."""
    first, second = halves(), halves(30, 20)
    buffer = io.BytesIO()
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    return buffer.getvalue()


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\0\x08mdat"
SVG = (
    b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
)
HTML = b"<!doctype html><script>alert(1)</script>"
ZIP_TAIL = b"PK\x03\x04" + b"payload" * 8 + b"PK\x05\x06" + b"\0" * 18
