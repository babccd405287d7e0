from __future__ import annotations

import io
import os
import socket
import struct
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import ExifTags, Image, ImageCms, ImageOps

from tests.pictures import exif_with_gps, subject_picture
from trainer.errors import PhotoError
from trainer.photos.decode import MAX_STORED_PX, decode_photo

RED_LEFT = Image.fromarray(
    np.concatenate([np.full((40, 30, 3), (220, 20, 20)), np.full((40, 30, 3), (20, 20, 220))], 1).astype(np.uint8)
)


def is_red_left(picture: Image.Image) -> bool:
    values = np.asarray(picture.convert("RGB"), dtype=int)
    left, right = values[:, 2], values[:, -3]
    return bool((left[:, 0] > 150).all() and (right[:, 2] > 150).all())


@pytest.mark.fault(44)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "MPO"])
def test_every_promised_format_is_read_whatever_its_name(kind: str, tmp_path: Path) -> None:
    pillow_heif.register_heif_opener()
    file = tmp_path / "photo.txt"
    options = {"save_all": True, "append_images": [RED_LEFT.rotate(180)]} if kind == "MPO" else {}
    RED_LEFT.save(file, kind, **options)
    picture = decode_photo(file)
    assert picture.mode == "RGB"
    assert picture.size == RED_LEFT.size
    assert is_red_left(picture)


@pytest.mark.parametrize("orientation", range(9))
def test_every_orientation_is_what_pillow_makes_of_it(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    RED_LEFT.save(tmp_path / "turned.png", exif=exif.tobytes())
    with Image.open(tmp_path / "turned.png") as picture:
        assert decode_photo(tmp_path / "turned.png").tobytes() == ImageOps.exif_transpose(picture).tobytes()


@pytest.mark.parametrize("tag", [ExifTags.Base.ImageWidth, ExifTags.Base.XResolution, ExifTags.Base.DateTime])
@pytest.mark.parametrize("kind", range(1, 13))
def test_odd_metadata_spoils_no_photo(tag: int, kind: int, tmp_path: Path) -> None:
    """A tag of a type that it should not have, beside an orientation that has to be applied."""
    entries = struct.pack("<HHII", ExifTags.Base.Orientation, 3, 1, 6) + struct.pack("<HHII", tag, kind, 1, 26)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4) + struct.pack("<ii", -7, 0)
    RED_LEFT.rotate(90, expand=True).save(tmp_path / "odd.jpg", exif=exif)
    assert is_red_left(decode_photo(tmp_path / "odd.jpg"))


@pytest.mark.fault(44)
@pytest.mark.parametrize("kind", ["JPEG", "HEIF", "WEBP", "PNG"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_photo_is_turned_upright_and_loses_its_metadata(kind: str, orientation: int, tmp_path: Path) -> None:
    turn = {3: 180, 6: 90, 8: 270}[orientation]  # how the phone held it, so how it must be turned back
    file = tmp_path / "turned"
    pillow_heif.register_heif_opener()
    RED_LEFT.rotate(turn, expand=True).save(file, kind, exif=exif_with_gps(orientation).tobytes())
    picture = decode_photo(file)
    assert picture.size == RED_LEFT.size
    assert is_red_left(picture)
    out = io.BytesIO()
    picture.save(out, "JPEG")
    assert b"Secret Phone" not in out.getvalue()
    assert not Image.open(io.BytesIO(out.getvalue())).getexif()


@pytest.mark.fault(44)
def test_transparency_is_put_on_white(tmp_path: Path) -> None:
    layer = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    layer.save(tmp_path / "a.png")
    assert decode_photo(tmp_path / "a.png").getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.fault(44)
def test_palette_with_transparency_is_read(tmp_path: Path) -> None:
    palette = RED_LEFT.quantize(8)
    palette.info["transparency"] = 0
    palette.save(tmp_path / "p.png", transparency=7)
    assert decode_photo(tmp_path / "p.png").mode == "RGB"


@pytest.mark.fault(44)
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16)[None].repeat(8, 0)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    row = np.asarray(decode_photo(tmp_path / "deep.png"))[0, :, 0]
    assert row[0] == 0
    assert row[-1] == 255
    assert abs(int(row[32]) - 130) < 4


@pytest.mark.fault(44)
def test_cmyk_is_read(tmp_path: Path) -> None:
    RED_LEFT.convert("CMYK").save(tmp_path / "print.jpg")
    assert is_red_left(decode_photo(tmp_path / "print.jpg"))


def test_colour_profile_is_converted_to_srgb(tmp_path: Path) -> None:
    lab_like = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ"))
    swapped = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    subject_picture(1).save(tmp_path / "srgb.jpg", icc_profile=swapped, quality=95)
    plain = np.asarray(decode_photo(tmp_path / "srgb.jpg"), dtype=int)
    assert abs(plain - np.asarray(subject_picture(1), dtype=int)).mean() < 6
    subject_picture(1).save(tmp_path / "odd.jpg", icc_profile=lab_like.tobytes())
    assert decode_photo(tmp_path / "odd.jpg").mode == "RGB"  # a profile of another colour space is passed over


def test_damaged_profile_does_not_spoil_the_photo(tmp_path: Path) -> None:
    RED_LEFT.save(tmp_path / "broken-profile.jpg", icc_profile=b"nonsense" * 40)
    assert is_red_left(decode_photo(tmp_path / "broken-profile.jpg"))


@pytest.mark.fault(44)
def test_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    RED_LEFT.save(tmp_path / "moving.webp", save_all=True, append_images=[RED_LEFT.rotate(180)], lossless=True)
    assert is_red_left(decode_photo(tmp_path / "moving.webp"))


def test_large_photo_is_kept_smaller(tmp_path: Path) -> None:
    subject_picture(2, (4000, 3000)).save(tmp_path / "large.jpg")
    assert max(decode_photo(tmp_path / "large.jpg").size) == MAX_STORED_PX


@pytest.mark.fault(43)
def test_jpeg_with_an_archive_behind_it_is_read_and_loses_the_archive(tmp_path: Path) -> None:
    RED_LEFT.save(tmp_path / "both.jpg")
    with zipfile.ZipFile(tmp_path / "both.jpg", "a") as archive:
        archive.writestr("secret.txt", "hidden")
    picture = decode_photo(tmp_path / "both.jpg")
    picture.save(tmp_path / "clean.jpg")
    assert not zipfile.is_zipfile(tmp_path / "clean.jpg")


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 4096)) + chunk(b"IEND", b"")


BAD = {
    "bomb.png": (png_claiming(30_000, 30_000), "megapixels"),
    "large.png": (png_claiming(12_000, 9_000), "megapixels"),
    "empty.jpg": (b"", "empty"),
    "text.jpg": (b"hello, I am not a photo", "not a photo"),
    "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a photo"),
    "print.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage", "not a photo"),
    "paper.pdf": (b"%PDF-1.4 nothing here", "not a photo"),
    "page.html": (b"<!doctype html><script>alert(1)</script>", "not a photo"),
    "pickle.jpg": (b"\x80\x04\x95\x10\x00\x00\x00cos\nsystem\n", "not a photo"),
}


@pytest.mark.fault(42, 43)
@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_refused_in_under_a_second(name: str, tmp_path: Path) -> None:
    content, reason = BAD[name]
    (tmp_path / name).write_bytes(content)
    began = time.process_time()
    with pytest.raises(PhotoError, match=reason):
        decode_photo(tmp_path / name)
    assert time.process_time() - began < 1


@pytest.mark.fault(43)
def test_truncated_photo_is_called_truncated(tmp_path: Path) -> None:
    subject_picture(1).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:4000])
    with pytest.raises(PhotoError, match="ends in the middle"):
        decode_photo(tmp_path / "half.jpg")


@pytest.mark.fault(43)
def test_png_with_a_wrong_checksum_is_damaged(tmp_path: Path) -> None:
    subject_picture(1).save(tmp_path / "whole.png")
    data = bytearray((tmp_path / "whole.png").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "wrong.png").write_bytes(bytes(data))
    with pytest.raises(PhotoError, match="damaged"):
        decode_photo(tmp_path / "wrong.png")


@pytest.mark.fault(43)
def test_gif_is_refused_by_content(tmp_path: Path) -> None:
    RED_LEFT.save(tmp_path / "x.gif")
    (tmp_path / "x.gif").rename(tmp_path / "x.jpg")
    with pytest.raises(PhotoError, match="not a photo in a format"):
        decode_photo(tmp_path / "x.jpg")


@pytest.mark.fault(42)
def test_huge_file_is_refused_by_its_size_alone(tmp_path: Path) -> None:
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(6 * 2**30)
    began = time.process_time()
    with pytest.raises(PhotoError, match="MB"):
        decode_photo(tmp_path / "huge.jpg")
    assert time.process_time() - began < 1


@pytest.mark.fault(43)
def test_links_pipes_sockets_and_folders_are_never_opened(tmp_path: Path) -> None:
    RED_LEFT.save(tmp_path / "real.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "real.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.jpg"))
        for name, word in [
            ("link.jpg", "link"),
            ("pipe.jpg", "pipe"),
            ("folder.jpg", "folder"),
            ("s.jpg", "device or pipe"),
        ]:
            with pytest.raises(PhotoError, match=word):
                decode_photo(tmp_path / name)


def test_missing_file_is_said_to_be_unreadable(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="cannot be read"):
        decode_photo(tmp_path / "gone.jpg")
