"""Requests, weights, metadata and the catalog: everything that needs no model."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from PIL import Image

from inference.metadata import read_settings, save_picture, settings_of
from inference.protocol import generator_socket
from inference.request import MAX_SEED, ConceptUse, PictureRequest, build_request
from inference.weights import spell_weighed, translate_weights
from trainer.errors import RecipeError


@pytest.mark.parametrize(
    ("pasted", "meant"),
    [
        ("a (red mug:1.3) here", "a (red mug)1.3 here"),
        ("a (mug: 0.5)", "a (mug)0.5"),
        ("(one:1.1), (two:.9)", "(one)1.1, (two)0.9"),
        ("a [dull] mug", "a (dull)0.9 mug"),
        ("a ((red)) (((big))) mug", "a (red)1.21 (big)1.331 mug"),
        ("a ((red))1.3 mug ((big))++, ((old)", "a ((red))1.3 mug ((big))++, ((old)"),
        ("(a ((red mug)), blue)", "(a (red mug)1.21, blue)"),
        ("a mug++ and (some words)1.2 and word--", "a mug++ and (some words)1.2 and word--"),
        ("a <red-mug> on 10:30 train", "a <red-mug> on 10:30 train"),
        ("plain words", "plain words"),
    ],
)
def test_other_tools_weights_are_translated(pasted: str, meant: str) -> None:
    assert translate_weights(pasted).prompt == meant
    assert translate_weights(pasted).notes == ()


@pytest.mark.parametrize("tag", ["<lora:mug:0.8>", "[red:blue:0.5]", "[red|blue]", "<hypernet:x:1>"])
def test_what_is_not_understood_is_named(tag: str) -> None:
    translated = translate_weights(f"a mug {tag} here")
    assert translated.prompt == "a mug here"
    assert tag in translated.notes[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("steps", 0),
        ("steps", 10**6),
        ("width", 513),
        ("width", 10**5),
        ("guidance", float("nan")),
        ("scheduler", "Euler; rm -rf /"),
        ("seed", -1),
        ("seed", MAX_SEED + 1),
        ("count", 17),
        ("strength", 0),
        ("mystery", 1),
    ],
)
def test_wrong_request_is_refused_by_field(field: str, value: object) -> None:
    with pytest.raises(RecipeError) as raised:
        build_request({"prompt": "a mug", field: value})
    assert [p.field for p in raised.value.problems] == [field]


def test_concept_that_is_named_and_not_picked_is_refused() -> None:
    there = (ConceptUse(folder=Path("/x"), alias="red-mug"),)
    assert build_request({"prompt": "a <red-mug>++ and <3", "concepts": there})
    with pytest.raises(RecipeError, match="<cat> is not among the concepts"):
        build_request({"prompt": "a <red-mug> and <cat>", "concepts": there})


def test_seeds_of_a_request_follow_one_another() -> None:
    assert build_request({"prompt": "x", "seed": MAX_SEED, "count": 3}).seeds == [MAX_SEED, 0, 1]


def test_settings_travel_in_the_picture_and_back(tmp_path: Path) -> None:
    request = PictureRequest(
        prompt='a <red-mug> "quoted" ümlaut\nsecond line', negative_prompt="blur", seed=7, steps=9, guidance=3.5
    )
    settings = settings_of(request, 8, [{"name": "red-mug", "weight": 0.5, "sha256": "abc"}])
    save_picture(Image.new("RGB", (8, 8)), tmp_path / "deep" / "p.png", settings)
    assert read_settings(tmp_path / "deep" / "p.png") == settings
    with Image.open(tmp_path / "deep" / "p.png") as picture:
        picture.load()
        assert "Negative prompt: blur" in picture.info["parameters"]
        assert "Seed: 8" in picture.info["parameters"]


def test_folders_of_this_machine_stay_out_of_pictures(tmp_path: Path) -> None:
    request = PictureRequest(prompt="x", base=str(tmp_path))
    assert settings_of(request, 1, []).base == tmp_path.name


def test_files_without_settings_have_none(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.jpg")
    (tmp_path / "text.png").write_text("no picture")
    for name in ("plain.png", "photo.jpg", "text.png", "missing.png"):
        assert read_settings(tmp_path / name) is None


def test_settings_are_read_without_a_look_at_the_pixels(tmp_path: Path) -> None:
    file, settings = tmp_path / "p.png", settings_of(PictureRequest(prompt="x"), 1, [])
    save_picture(Image.new("RGB", (64, 64)), file, settings)
    file.write_bytes(file.read_bytes().split(b"IDAT")[0] + b"IDAT")
    assert read_settings(file) == settings


def test_settings_behind_the_pixels_are_found(tmp_path: Path) -> None:
    file, settings = tmp_path / "p.png", settings_of(PictureRequest(prompt="x"), 1, [])
    save_picture(Image.new("RGB", (8, 8)), file, settings)
    data = file.read_bytes()
    header, text, pixels = data[:33], data[33 : data.index(b"IDAT") - 4], data[data.index(b"IDAT") - 4 : -12]
    file.write_bytes(header + pixels + text + data[-12:])
    assert read_settings(file) == settings


@pytest.mark.fault(42)
def test_picture_of_absurd_size_is_not_decoded_for_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, decoded = tmp_path / "bomb.png", []
    Image.new("1", (13_000, 13_000)).save(file)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", lambda picture: decoded.append(picture.size))
    assert read_settings(file) is None
    assert decoded == []


def test_socket_path_is_short_enough_for_any_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert generator_socket(Path("/short")) == Path("/short/generator.sock")
    long = tmp_path / ("x" * 120)
    assert len(str(generator_socket(long))) <= 100
    monkeypatch.setattr(tempfile, "tempdir", str(long / "tmp"))
    assert len(str(generator_socket(long))) <= 100
    assert generator_socket(long) == generator_socket(long)
    assert generator_socket(long) != generator_socket(long / "y")


@pytest.mark.parametrize(
    ("prompt", "weight", "spelt"),
    [
        ("a <mug>, old", 1.0, "a sks mug, old"),
        ("a <mug>++ on a table", 1.0, "a (sks mug)1.21 on a table"),
        ("a <mug>-- on a table", 1.0, "a (sks mug)0.81 on a table"),
        ("a <mug>-like thing", 1.0, "a sks mug-like thing"),
        ("<Mug> and <MUG>++", 1.0, "sks mug and (sks mug)1.21"),
        ("<mug>+ and <mug>", 0.5, "(sks mug)0.55 and (sks mug)0.5"),
    ],
)
def test_signs_after_a_placeholder_weigh_all_of_its_words(prompt: str, weight: float, spelt: str) -> None:
    assert spell_weighed(prompt, "<mug>", "sks mug", weight) == spelt
