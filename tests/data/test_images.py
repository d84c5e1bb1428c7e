"""Reading picture files: every kind right, every bad one a BadImage."""

import os
import pickle
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, features

from atlas.data.images import ENDINGS, FORMATS, MAX_PIXELS, BadImage, decode, kind_of

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
TURN_BACK = {  # what a camera did to a picture that carries this EXIF orientation
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def saved(picture, kind, **options):
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png(depth, colour_type, rows, transparent=b"", size=None):
    """Write a PNG that Pillow cannot: any depth; `rows` are bytes without filter."""

    def chunk(name, data):
        crc = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

    width, height = size
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (chunk(b"tRNS", transparent) if transparent else b"")
        + (chunk(b"IDAT", data) if rows else b"")
        + chunk(b"IEND", b"")
    )


def corners():
    """Return a 24 x 16 picture whose corners differ, so that any turn shows."""
    picture = Image.new("RGB", (24, 16), "grey")
    picture.paste(RED, (0, 0, 8, 8))
    picture.paste(GREEN, (16, 0, 24, 8))
    picture.paste(BLUE, (0, 8, 8, 16))
    return picture


def near(picture, other, tolerance):
    assert picture.mode == "RGB"
    assert picture.size == other.size
    difference = np.abs(np.asarray(picture).astype(int) - np.asarray(other.convert("RGB")))
    assert difference.max() <= tolerance


LOSSLESS = {"PNG": {}, "GIF": {}, "BMP": {}, "PPM": {}, "TIFF": {}, "WEBP": {"lossless": True}}
SAMPLES = {
    **{kind: saved(corners(), kind, **options) for kind, options in LOSSLESS.items()},
    "JPEG": saved(corners(), "JPEG", quality=95, subsampling=0),
    "progressive": saved(corners(), "JPEG", progressive=True),
    "CMYK": saved(corners().convert("CMYK"), "JPEG"),
    "packed TIFF": saved(corners(), "TIFF", compression="tiff_lzw"),
    "palette": saved(corners().quantize(8), "PNG"),
    "animated WEBP": saved(corners(), "WEBP", save_all=True, append_images=[corners().rotate(90)]),
    "exif": saved(corners(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\3\0\1\0\0\0\6"),
}
if features.check("avif"):
    SAMPLES["AVIF"] = saved(corners(), "AVIF", quality=95)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_keep_every_pixel(kind):
    near(decode(SAMPLES[kind]), corners(), 0)


@pytest.mark.parametrize("kind", [k for k in ("JPEG", "AVIF") if k in SAMPLES])
def test_lossy_formats_keep_the_colours(kind):
    decoded = decode(SAMPLES[kind])
    assert np.abs(np.subtract(decoded.getpixel((3, 3)), RED)).max() < 20
    assert np.abs(np.subtract(decoded.getpixel((20, 3)), GREEN)).max() < 20


def test_bytes_path_and_open_file_are_the_same(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(SAMPLES["PNG"])
    near(decode(path), corners(), 0)
    with path.open("rb") as file:
        file.read(5)  # wherever it stands, it is read from its beginning
        near(decode(file), corners(), 0)
        assert not file.closed


def test_the_ending_does_not_matter(tmp_path):
    path = tmp_path / "photo.png"  # ImageNet has JPEGs that are PNGs and the reverse
    path.write_bytes(SAMPLES["JPEG"])
    assert decode(path).size == (24, 16)


def test_the_result_is_independent_of_the_source(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(SAMPLES["PNG"])
    decoded = decode(path)
    path.unlink()
    near(pickle.loads(pickle.dumps(decoded)), corners(), 0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TURN_BACK)
def test_exif_orientation_is_applied(kind, orientation):
    stored = corners()
    if TURN_BACK[orientation] is not None:
        stored = stored.transpose(TURN_BACK[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    near(decode(saved(stored, kind, exif=exif, **options.get(kind, {}))), corners(), 6)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_an_orientation_that_does_not_exist_or_is_damaged_is_none():
    for exif in (b"Exif\0\0nonsense", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"Exif\0\0"):
        near(decode(saved(corners(), "JPEG", quality=100, subsampling=0, exif=exif)), corners(), 6)


def translucent():
    picture = Image.new("RGBA", (4, 1), (*RED, 255))
    picture.putpixel((1, 0), (*RED, 0))
    picture.putpixel((2, 0), (0, 0, 0, 128))
    return picture


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_laid_over_white(kind):
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    decoded = decode(saved(translucent(), kind, **options))
    assert [decoded.getpixel((x, 0)) for x in range(3)] == [RED, WHITE, (127, 127, 127)]


def test_transparency_of_grey_and_palettes_is_laid_over_white():
    grey = Image.merge("LA", [Image.new("L", (1, 1), 0), Image.new("L", (1, 1), 0)])
    assert decode(saved(grey, "PNG")).getpixel((0, 0)) == WHITE

    palette = Image.new("P", (2, 1))
    palette.putpalette([*RED, *BLUE])
    palette.putpixel((1, 0), 1)
    for kind, transparency in (("PNG", 1), ("GIF", 1), ("PNG", bytes([255, 0]))):
        decoded = decode(saved(palette, kind, transparency=transparency))
        assert [decoded.getpixel((x, 0)) for x in (0, 1)] == [RED, WHITE]


def test_a_transparent_colour_of_16_bits_is_laid_over_white():
    rows = [struct.pack(">6H", 0x8012, 0x0134, 0, 0, 0, 65535)]
    transparent = struct.pack(">3H", 0x8012, 0x0134, 0)
    decoded = decode(png(16, 2, rows, transparent, size=(2, 1)))
    assert [decoded.getpixel((x, 0)) for x in (0, 1)] == [WHITE, BLUE]

    grey = decode(png(16, 0, [struct.pack(">2H", 0, 257)], struct.pack(">H", 257), size=(2, 1)))
    assert [grey.getpixel((x, 0)) for x in (0, 1)] == [(0, 0, 0), WHITE]


def test_adobe_cmyk_is_right():
    for ink, colour in (((255, 0, 0, 0), (0, 255, 255)), ((0, 0, 0, 255), (0, 0, 0))):
        stored = saved(Image.new("CMYK", (8, 8), ink), "JPEG", quality=100)
        assert b"Adobe" in stored
        near(decode(stored), Image.new("RGB", (8, 8), colour), 3)


def test_adobe_ycck_is_right():
    # YCCK holds, as YCbCr, the negative of the inks that the file has; and Adobe's files
    # have the negative of the true inks, which are the negative of the colour.
    wanted = (200, 30, 60)
    negative = Image.new("RGB", (16, 16), tuple(255 - value for value in wanted))
    planes = [*negative.convert("YCbCr").split(), Image.new("L", (16, 16), 255)]
    given = [plane.point(lambda value: 255 - value) for plane in planes]  # Pillow inverts again
    stored = saved(Image.merge("CMYK", given), "JPEG", quality=100)
    adobe = stored.index(b"Adobe")
    assert stored[adobe + 11] == 0
    stored = stored[: adobe + 11] + b"\2" + stored[adobe + 12 :]
    with Image.open(BytesIO(stored)) as raw:
        assert raw.info["adobe_transform"] == 2
    near(decode(stored), Image.new("RGB", (16, 16), wanted), 4)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_and_not_clipped(kind):
    values = np.array([[0, 128, 257, 32768, 65535]], dtype=np.uint16)
    decoded = np.asarray(decode(saved(Image.fromarray(values), kind)))
    assert decoded[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    assert (decoded == decoded[:, :, :1]).all()


def test_dark_16_bit_grey_stays_dark():
    values = np.full((2, 2), 300, dtype=np.uint16)
    assert decode(saved(Image.fromarray(values), "PNG")).getpixel((0, 0)) == (1, 1, 1)


def test_white_is_zero_tiff_of_16_bits_is_not_a_negative():
    values = np.array([[0, 65535]], dtype=np.uint16)
    stored = saved(Image.fromarray(values), "TIFF", tiffinfo={262: 0})
    decoded = decode(stored)
    assert [decoded.getpixel((x, 0)) for x in (0, 1)] == [WHITE, (0, 0, 0)]


def test_numbers_without_a_scale_are_stretched():
    for values in (
        np.array([[-1.5, 0.0, 1.5]], dtype=np.float32),
        np.array([[-70000, 0, 70000]], dtype=np.int32),
    ):
        decoded = decode(saved(Image.fromarray(values), "TIFF"))
        assert [decoded.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]
    constant = np.full((2, 2), 7.0, dtype=np.float32)
    assert decode(saved(Image.fromarray(constant), "TIFF")).size == (2, 2)


def test_numbers_that_are_none_are_bad():
    values = np.array([[0.0, np.nan]], dtype=np.float32)
    with pytest.raises(BadImage, match="finite"):
        decode(saved(Image.fromarray(values), "TIFF"))


def test_16_bit_rgb_is_scaled():
    decoded = decode(png(16, 2, [struct.pack(">3H", 65535, 32768, 255)], size=(1, 1)))
    assert decoded.getpixel((0, 0)) == (255, 128, 0)


def test_one_bit_grey_and_palette():
    bit = Image.new("1", (2, 1), 0)
    bit.putpixel((1, 0), 1)
    for kind in ("PNG", "TIFF", "BMP", "PPM"):
        decoded = decode(saved(bit, kind))
        assert [decoded.getpixel((x, 0)) for x in (0, 1)] == [(0, 0, 0), WHITE]
    grey = Image.new("L", (3, 3), 77)
    assert decode(saved(grey, "JPEG", quality=100)).getpixel((1, 1)) == (77, 77, 77)
    near(decode(SAMPLES["palette"]), corners(), 0)


def test_lab_is_converted():
    colour = Image.new("RGB", (4, 4), (200, 60, 90))
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(colour, *profiles, outputMode="LAB")
    near(decode(saved(lab, "TIFF")), colour, 3)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {}
    stored = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    near(decode(stored), frames[0], 0)


def test_size_is_checked_before_pixels_are_decoded():
    # There are no pixels in this file: only its header can show that it is too large.
    side = int(MAX_PIXELS**0.5)
    for size in ((side + 1, side), (2**31 - 1, 2**31 - 1), (20000, 20000), (9000, 9000)):
        with pytest.raises(BadImage, match="more than the maximum"):
            decode(png(8, 2, [], size=size))
    with pytest.raises(BadImage) as caught:
        decode(png(8, 2, [], size=(side, side)))
    assert "more than" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_truncated_files_are_bad(kind):
    for share in (0.02, 0.3, 0.6):
        with pytest.raises(BadImage):
            decode(SAMPLES[kind][: int(len(SAMPLES[kind]) * share)])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"hello, world\n" * 9,
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        b"%PDF-1.4\n%%EOF",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xd9",
        b"GIF89a\0\0\0\0\0\0\0;",
        b"P6 0 0 255\n",
    ],
)
def test_what_is_no_picture_is_bad(content):
    with pytest.raises(BadImage) as caught:
        decode(content)
    assert str(caught.value)
    assert "\n" not in str(caught.value)


def test_formats_that_run_other_programs_or_are_rare_are_not_read():
    for kind in ("EPS", "PDF", "PSD", "ICO", "TGA", "PCX"):
        assert kind not in FORMATS
    with pytest.raises(BadImage, match="known format"):
        decode(saved(corners(), "EPS"))
    with pytest.raises(BadImage, match="known format"):
        decode(saved(corners(), "TGA"))


def test_every_ending_belongs_to_a_format():
    Image.init()
    known = {ending: Image.EXTENSION.get(ending, ending[1:].upper()) for ending in ENDINGS}
    assert set(known.values()) <= {*FORMATS, "DIB", "JFIF"}


def test_files_that_cannot_be_read_are_bad(tmp_path):
    with pytest.raises(BadImage, match="no such file"):
        decode(tmp_path / "gone.jpg")
    with pytest.raises(BadImage, match="not a file"):
        decode(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(BadImage, match="not a file"):
        decode(tmp_path / "pipe.jpg")
    with pytest.raises(BadImage):
        decode(Path("a" * 5000))
    with pytest.raises(BadImage):
        decode(Path("a\0b"))
    with (tmp_path / "closed").open("wb") as file:
        pass
    with pytest.raises(BadImage):
        decode(file)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_without_permission_are_bad(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(SAMPLES["PNG"])
    path.chmod(0)
    with pytest.raises(BadImage, match="denied"):
        decode(path)


def attempt(content):
    try:
        decoded = decode(content)
    except BadImage as error:
        assert "\n" not in str(error)
    else:
        assert decoded.mode == "RGB"
        assert 0 < decoded.width * decoded.height <= MAX_PIXELS


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(sorted(SAMPLES)),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=4))),
    cut=st.integers(0, 4000),
)
@example(kind="GIF", changes=[(6, b"\xff\xff\xff\xff")], cut=4000)
@example(kind="WEBP", changes=[(26, b"\xff\x3f\xff\x3f")], cut=4000)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_read_or_bad_and_nothing_else(kind, changes, cut):
    content = bytearray(SAMPLES[kind])
    for position, replacement in changes:
        start = position % len(content)
        content[start : start + len(replacement)] = replacement
    attempt(bytes(content[: len(content) - cut % len(content)] if cut % 3 == 0 else content))


@settings(max_examples=300, deadline=None)
@given(
    start=st.sampled_from([sample[:16] for sample in SAMPLES.values()]),
    rest=st.binary(max_size=300),
)
@pytest.mark.filterwarnings("ignore")
def test_arbitrary_bytes_are_read_or_bad_and_nothing_else(start, rest):
    attempt(start + rest)
    attempt(rest)


@pytest.mark.parametrize("turn", [1, 6])
def test_heic(tmp_path, turn):
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x112] = turn
    path = tmp_path / "phone.heic"
    pillow_heif.from_pillow(corners()).save(path, quality=95, exif=exif.tobytes())
    decoded = decode(path)
    expected = corners() if turn == 1 else corners().transpose(Image.Transpose.ROTATE_270)
    assert decoded.size == expected.size
    for at in ((3, 3), (decoded.width - 4, 3)):
        assert np.abs(np.subtract(decoded.getpixel(at), expected.getpixel(at))).max() < 30


def test_reasons_are_of_few_kinds():
    reasons = {
        kind_of("not a picture in a known format (AVIF, BMP)"),
        kind_of("damaged: image file is truncated (12 bytes not processed)"),
        kind_of("corrupt: 0x12"),
        kind_of("no such file"),
    }
    assert reasons == {"not a picture in a known format", "damaged", "corrupt", "no such file"}
    for length in (200, 300, 400):
        with pytest.raises(BadImage) as caught:
            decode(SAMPLES["JPEG"][:length])
        assert kind_of(str(caught.value)) in {
            "damaged",
            "corrupt",
            "not a picture in a known format",
        }
