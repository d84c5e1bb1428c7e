"""Reading one picture file, whatever it holds, as 8-bit RGB.

`decode` gives the picture as a person would see it: the first frame, turned as the camera
was held, transparent parts over white, deep greyscale scaled down and not clipped. A file
that cannot be read that way is a `BadImage` and nothing else, so that one bad file among a
million costs one picture and never the run. Reasons are few: what distinguishes two files comes
behind a colon or in brackets, which `kind_of` cuts off.

JPEGs are decoded at their full size: decoding at a half or less, which libjpeg can, is quicker
for large ones but gives other pixels after resizing (by 2 of 255 on average).

Pixel values are those of the file: embedded colour profiles are not applied, because the
networks that are examined were trained without them. CMYK is converted by the plain
formula, and JPEGs in CMYK or YCCK are taken to be inverted, as Adobe writes them and as
browsers read them.
"""

import contextlib
import re
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin, UnidentifiedImageError

from atlas.errors import one_line

HEIF = False
"""Whether HEIC and HEIF are read, as the extra `heif` does."""

with contextlib.suppress(ImportError):
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)
    HEIF = True

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP", *(["HEIF"] if HEIF else []))
"""What is read, by Pillow's names. None of them runs another program (as EPS and PDF do).
PPM includes PBM and PGM. AVIF needs a Pillow that was built with it, as its wheels are."""

HEIF_ENDINGS = frozenset({".heic", ".heif", ".hif"})

ENDINGS = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg"}
    | {".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
    | (HEIF_ENDINGS if HEIF else set())
)
"""Usual endings of the names of such files, in lower case."""

UNREAD = (
    HEIF_ENDINGS
    | {".arw", ".cr2", ".cr3", ".dcm", ".dng", ".eps", ".exr", ".hdr", ".ico", ".j2k", ".jp2"}
    | {".jxl", ".nef", ".orf", ".psd", ".raf", ".raw", ".rw2", ".svg", ".tga"}
) - ENDINGS
"""Endings of pictures that are not read."""

WITH_HEIF = "HEIC is read with `pip install 'concept-atlas[heif]'`"

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})

MAX_PIXELS = 2**26
"""Largest width x height that is decoded: 8192 x 8192 pixels, about 270 MB while it is
being decoded. It is compared with the file's header before any pixel is decoded."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # tags of TIFF
_WHITE_IS_ZERO = 0  # value of the latter


class BadImage(Exception):  # noqa: N818 - it names a thing, as in "the list of bad images"
    """A picture that cannot be read; the message is the reason in one line."""


def kind_of(reason: str) -> str:
    """Return a reason without what differs from file to file: one of a few dozen texts."""
    return re.split(r": | \(", reason, maxsplit=1)[0]


def looks_like_one(path: Path) -> bool:
    """Say whether a file begins as a picture does, whatever its name."""
    try:
        with path.open("rb") as file, Image.open(file, formats=FORMATS):
            return True
    except UnidentifiedImageError:
        return _is_heif(path)
    except Image.DecompressionBombError:
        return True
    except Exception:  # Pillow's plugins raise anything on malformed content
        return False


def decode(source: bytes | Path | BinaryIO) -> Image.Image:
    """Read a picture.

    Parameters
    ----------
    source : bytes, Path or binary file
        The content of an image file, its path, or the open file (which is read from its
        beginning and stays open).

    Returns
    -------
    PIL.Image.Image
        Mode RGB, 8 bits per colour, at least 1 x 1 pixels and at most `MAX_PIXELS`. It is
        fully loaded and does not depend on `source` any more.

    Raises
    ------
    BadImage
        The file is missing, unreadable, empty, truncated, corrupt, larger than
        `MAX_PIXELS` or not in one of `FORMATS`. No other exception is raised.
    """
    try:
        if isinstance(source, Path):
            if not source.is_file():  # opening a pipe or a device would wait for ever
                raise BadImage("not a file" if source.exists() else "no such file")
            with source.open("rb") as file:
                return _decode(file)
        return _decode(BytesIO(source) if isinstance(source, bytes) else source)
    except BadImage:
        raise
    except UnidentifiedImageError:
        if not HEIF and _is_heif(source):
            raise BadImage(f"a HEIC picture ({WITH_HEIF})") from None
        raise BadImage(f"not a picture in a known format ({', '.join(FORMATS)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(_too_large()) from error
    except OSError as error:
        raise BadImage(error.strerror or f"damaged: {one_line(error)}") from error
    except Exception as error:  # Pillow's plugins raise anything on malformed content
        raise BadImage(f"corrupt: {one_line(error)}") from error


def _decode(file: BinaryIO) -> Image.Image:
    file.seek(0)
    if not file.read(1):
        raise BadImage("empty file")
    with Image.open(file, formats=FORMATS) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise BadImage(f"{_too_large()} (it has {width} x {height})")
        if width < 1 or height < 1:
            raise BadImage("no pixels")
        picture.load()
        turn = _TURNS.get(_orientation(picture))  # of TIFF none is left: it turns itself
        rgb = _to_rgb(picture)
        return rgb if turn is None else rgb.transpose(turn)


def _is_heif(source: bytes | Path | BinaryIO) -> bool:
    """Return whether the first bytes are those of a HEIC or HEIF file."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return _is_heif(file)
    if isinstance(source, bytes):
        head = source[:12]
    else:
        source.seek(0)
        head = source.read(12)
    return head[4:8] == b"ftyp" and head[8:] in _HEIF_BRANDS


def _too_large() -> str:
    return f"more than the maximum of {MAX_PIXELS} pixels"


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none that can be read."""
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged metadata does not make the pixels bad
        return 1


def _to_rgb(picture: Image.Image) -> Image.Image:
    """Convert any mode that `FORMATS` give to RGB, as a new image."""
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _to_8_bits(picture)
    if picture.mode == "LAB":
        return _lab_to_rgb(picture)
    if not picture.has_transparency_data:
        return picture.convert("RGB") if picture.mode != "RGB" else picture.copy()
    _shorten_transparent_colour(picture)
    rgba = picture.convert("RGBA")
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white


def _to_8_bits(picture: Image.Image) -> Image.Image:
    """Scale greyscale of more than 8 bits to mode L.

    Integers that fit 16 bits (or the fewer bits that a TIFF says it has) keep their scale:
    0 is black and the highest number that the format can hold is white. Other integers
    and floating-point numbers have no scale of their own: the picture's lowest value
    becomes black and its highest white.
    """
    values = np.asarray(picture).astype(np.float64)
    if not np.isfinite(values).all():
        raise BadImage("pixels that are not finite numbers")
    tags = picture.tag_v2 if isinstance(picture, TiffImagePlugin.TiffImageFile) else {}
    bits = min(16, tags.get(_BITS_PER_SAMPLE, (16,))[0])
    low, high = 0.0, 2.0**bits - 1
    if picture.mode == "F" or values.min() < low or values.max() > high:
        low, high = values.min(), values.max()
    share = (values - low) / max(high - low, np.finfo(np.float64).tiny)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow inverts only up to 8 bits
        share = 1 - share
    grey = Image.fromarray(np.rint(share * 255).astype(np.uint8))
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):  # PNG: the one value that is see-through
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def _shorten_transparent_colour(picture: Image.Image) -> None:
    """Bring the see-through colour of a 16-bit RGB PNG to 8 bits, as its pixels were."""
    colour = picture.info.get("transparency")
    if isinstance(colour, tuple) and max(colour) > 255:
        picture.info["transparency"] = tuple(value >> 8 for value in colour)


def _lab_to_rgb(picture: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB")
    assert converted is not None  # only in-place conversion returns nothing
    return converted
