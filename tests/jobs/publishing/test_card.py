"""Model cards: complete, valid, and unimpressed by what people type."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from jobs.publishing.card import code_block, code_span
from jobs.publishing.repository import CARD_FILE, MANIFEST_FILE, RECORD_FILE, Content, repository_files
from tests.jobs.finished_run import write_finished_run
from trainer.artifact import read_manifest, write_manifest
from trainer.run_folder import RunFolder

HOSTILE = [
    "---\n# head\n---",
    "<script>alert(1)</script> {{ 7 * 7 }} {% raw %}",
    "``` `a` ``",
    "| a | b |\n> quote [x](javascript:alert(1)) ![y](http://example.org/y.png)",
    "a\n\n</code></pre><img src=x onerror=alert(1)>",
    "key: [unclosed, 'quote \" {brace",
    "{{ 7 * 7 }} `` [x](javascript:alert(1)) ![y](//example.org)",
    "---",
    "naïve \u202e reversed \U0001f600",
]


def card_of(run: RunFolder) -> str:
    content = repository_files(run, "alice/red-mug", base_licence=None)[CARD_FILE].source
    assert isinstance(content, bytes)
    return content.decode()


def front_matter(card: str) -> dict[str, object]:
    return yaml.safe_load(card.split("---\n", 2)[1])


def test_card_says_how_to_use_the_concept(tmp_path: Path, photo_folder: Path) -> None:
    card = card_of(write_finished_run(tmp_path / "run", photo_folder))
    head = front_matter(card)
    assert head["instance_prompt"] == "<red-mug> <red-mug>_1 <red-mug>_2 <red-mug>_3"
    assert head["library_name"] == "diffusers"
    assert head["license"] == "cc-by-4.0"
    assert "textual_inversion" in head["tags"]  # type: ignore[operator]
    assert [w["output"]["url"] for w in head["widget"]] == ["samples/after-1.png", "samples/after-2.png"]  # type: ignore[index, attr-defined]
    assert "base_model" not in head
    assert 'pipeline.load_textual_inversion("alice/red-mug")' in card
    assert "`embedding:red-mug`" in card
    assert "5 photos" in card
    assert '"learning_rate": 0.01' in card
    ModelCard(card)


@pytest.mark.parametrize(
    ("method", "words"),
    [("dreambooth-lora", "<lora:red-mug:1> red-mug mug"), ("dreambooth", "red-mug mug")],
)
def test_card_of_a_hub_base_names_and_links_it(tmp_path: Path, photo_folder: Path, method: str, words: str) -> None:
    base = "someone/some-model"
    card = card_of(write_finished_run(tmp_path / "run", photo_folder, method=method, base=base, learning_rate=1e-4))
    assert front_matter(card)["base_model"] == base
    assert f"[{base}](https://huggingface.co/{base})" in card
    assert f"`{words}`" in card


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("textual-inversion", 'vectors["clip_g"], token="<red-mug>", text_encoder=pipeline.text_encoder_2'),
        ("dreambooth-lora", 'pipeline.load_lora_weights("alice/red-mug")'),
    ],
)
def test_card_of_an_xl_concept_has_code_for_its_pipeline(
    tmp_path: Path, photo_folder: Path, method: str, words: str
) -> None:
    run = write_finished_run(tmp_path / "run", photo_folder, method=method)
    manifest = read_manifest(run.artifact)
    base = manifest.base.model_copy(update={"family": "stable-diffusion-xl"})
    write_manifest(run.artifact, manifest.model_copy(update={"base": base}))
    card = card_of(run)
    assert "stable-diffusion-xl-diffusers" in front_matter(card)["tags"]  # type: ignore[operator]
    code = card.partition("```python\n")[2].partition("```")[0]
    ast.parse(code)
    assert "StableDiffusionXLPipeline.from_pretrained" in code
    assert words in code


@pytest.mark.fault(48)
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_prompt_stays_text(tmp_path: Path, photo_folder: Path, text: str) -> None:
    card = card_of(write_finished_run(tmp_path / "run", photo_folder, preview_prompt=text))
    assert front_matter(card)["widget"][0]["text"] == " ".join(text.split())  # type: ignore[index]
    assert_it_stayed_text(card, text)


@pytest.mark.fault(46)
@pytest.mark.parametrize("method", ["textual-inversion", "dreambooth-lora"])
@pytest.mark.parametrize("text", [text for text in HOSTILE if not re.search(r"[\n<>]", text)])
def test_hostile_class_word_stays_text(tmp_path: Path, photo_folder: Path, method: str, text: str) -> None:
    card = card_of(write_finished_run(tmp_path / "run", photo_folder, method=method, class_word=text))
    assert text in card
    assert_it_stayed_text(card, text)


def assert_it_stayed_text(card: str, text: str) -> None:
    """Front matter and Markdown are what they are without it."""
    assert front_matter(card)["library_name"] == "diffusers"
    body = MarkdownIt("commonmark").enable("table").render(card.split("---\n", 2)[2])
    assert "<script" not in body
    assert "onerror=alert(1)>" not in body.replace("&gt;", "")
    assert "javascript:" not in "".join(part.split('"')[0] for part in body.split('href="')[1:])
    assert "http://example.org" not in "".join(part.split('"')[0] for part in body.split('src="')[1:])
    assert body.count("<h1>") == 1
    assert "{{ 7 * 7 }}" in card or "7 * 7" not in text


@pytest.mark.fault(48, 59)
def test_tokens_and_paths_of_the_machine_are_not_published(tmp_path: Path, photo_folder: Path) -> None:
    base = tmp_path / "secret-place" / "my-model"
    run = write_finished_run(
        tmp_path / "run", photo_folder, base=str(base), preview_prompt="a photo hf_abcdefghijklmnop of <red-mug>"
    )
    files = repository_files(run, "alice/red-mug", base_licence="mit")
    for name in (CARD_FILE, MANIFEST_FILE, RECORD_FILE):
        content = files[name].source
        assert isinstance(content, bytes)
        text = content.decode()
        assert "secret-place" not in text
        assert str(tmp_path) not in text
        assert "abcdefghijklmnop" not in text


def test_photos_stay_at_home(tmp_path: Path, photo_folder: Path) -> None:
    run = write_finished_run(tmp_path / "run", photo_folder)
    published = {content.identity.sha256 for content in repository_files(run, "a/b", base_licence=None).values()}
    photos = [file for file in [*run.photos.rglob("*"), *photo_folder.iterdir()] if file.is_file()]
    assert not published & {Content(photo).identity.sha256 for photo in photos}


@pytest.mark.fault(48)
@pytest.mark.parametrize("text", ["plain", "`", "a``b`", "```"])
def test_code_holds_any_text(text: str) -> None:
    renderer = MarkdownIt("commonmark")
    assert f"<code>{text}</code>" in renderer.render(code_span(text))
    assert f"{text}\n</code></pre>" in renderer.render(code_block(text))
