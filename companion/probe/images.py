"""Make an image safe: decode it within limits, turn it upright, write it anew without metadata."""

import io
from pathlib import Path
from typing import Any

from PIL import Image, ImageCms, ImageOps

from care.attachments import FileKind, max_bytes
from care.errors import BadRequest, TooLarge
from care.policy import FilePolicy
from companion.probe import walks
from companion.probe.sniff import Format

CHECKS = {
    Format.JPEG: walks.check_jpeg,
    Format.PNG: walks.check_png,
    Format.WEBP: walks.check_webp,
}
SAVING: dict[Format, dict[str, Any]] = {
    Format.JPEG: {"quality": 85},
    # the default effort costs seconds on a large photograph for a few percent of its size
    Format.PNG: {"compress_level": 4},
    Format.WEBP: {"quality": 85, "method": 2},
}


def clean_image(
    data: bytes, form: Format, content: Path, thumbnail: Path, policy: FilePolicy
) -> dict[str, Any]:
    """Write the image and its thumbnail anew; give its type and measures.

    Raises BadRequest, TooLarge, or whatever Pillow makes of a damaged file.
    """
    if len(data) > max_bytes(policy, FileKind.IMAGE):
        raise TooLarge(f"图片不能超过 {policy.image_max_bytes // 2**20} MB")
    CHECKS[form](data)
    image = _decode(data, form, policy)
    image.save(content, form.value.upper(), **SAVING[form])
    write_thumbnail(image, thumbnail, policy)
    return {
        "kind": FileKind.IMAGE,
        "mime": f"image/{form.value}",
        "width": image.width,
        "height": image.height,
    }


def _decode(data: bytes, form: Format, policy: FilePolicy) -> Image.Image:
    """Decode to 8-bit sRGB or grey, upright, with nothing of the file but its pixels."""
    # the limit below is ours, and it is there before a pixel is decoded
    Image.MAX_IMAGE_PIXELS = None
    image = Image.open(io.BytesIO(data), formats=[form.value.upper()])
    if image.width * image.height > policy.image_max_pixels:
        raise TooLarge(f"图片不能超过 {policy.image_max_pixels // 10_000} 万像素")
    if form is Format.WEBP and getattr(image, "is_animated", False):
        raise BadRequest.field("file", "不支持动图，请上传静态图片")
    # a JPEG is decoded at a half or a quarter where that is still large enough
    image.draft(None, (policy.image_side_max,) * 2)
    profile = image.info.get("icc_profile")
    ImageOps.exif_transpose(image, in_place=True)
    plain = _to_eight_bit(image)
    plain.thumbnail((policy.image_side_max,) * 2, Image.Resampling.LANCZOS)
    plain = _to_srgb(plain, profile)
    # Pillow writes some of these back unasked: comments, profiles, XMP
    plain.info.clear()
    return plain


def _to_eight_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # a 16-bit grey scan; converting it directly would clip all but the darkest to white
        return image.convert("I").point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode == "CMYK":
        return image
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Apply the colour profile: the colour of a rash matters, and phones don't take sRGB photos."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            mode = "RGB" if image.mode == "CMYK" else image.mode
            converted = ImageCms.profileToProfile(image, source, target, outputMode=mode)
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB") if image.mode == "CMYK" else image


def write_thumbnail(image: Image.Image, target: Path, policy: FilePolicy) -> None:
    """Write a small JPEG of it, transparent parts on white."""
    small = image.copy()
    small.thumbnail((policy.thumbnail_side,) * 2, Image.Resampling.LANCZOS)
    if small.mode == "RGBA":
        ground = Image.new("RGB", small.size, "white")
        ground.paste(small, mask=small.getchannel("A"))
        small = ground
    small.save(target, "JPEG", quality=80)
