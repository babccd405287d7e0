"""The model card of a published concept. Whatever a person typed stands in code spans or blocks, never as markup."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard, ModelCardData

from jobs.hub.client import redacted
from trainer.artifact import EMBEDDING_FILE, Manifest, portable_file
from trainer.bases import ASSETS, HUB_ID, STARTER_FOLDER, FamilyName, public_base_name
from trainer.concept import first_prompt, preview_prompt
from trainer.imports.publications import TAG
from trainer.photos.intake import PhotoSet
from trainer.recipe.build import build_recipe
from trainer.recipe.choices import STARTER, Kind, Method

TEMPLATE = ASSETS / "model-card.md"
SPACE = "https://huggingface.co/spaces/multimodalart/dreambooth-training"
_SUMMARY = {
    Method.textual_inversion: "new word vectors (textual inversion) that teach a Stable Diffusion model",
    Method.dreambooth_lora: "a DreamBooth adapter (LoRA) that teaches a Stable Diffusion model",
    Method.dreambooth: "a Stable Diffusion model taught by DreamBooth to know",
}
_FAMILY_TAGS: dict[FamilyName, list[str]] = {
    "stable-diffusion": ["stable-diffusion", "stable-diffusion-diffusers"],
    "stable-diffusion-xl": ["stable-diffusion-xl", "stable-diffusion-xl-diffusers"],
}
_TAGS = {
    Method.textual_inversion: ["textual_inversion", "diffusers-training"],
    Method.dreambooth_lora: ["lora", "dreambooth", "diffusers-training"],
    Method.dreambooth: ["dreambooth", "diffusers-training"],
}
_A1111_FOLDER = {
    Method.textual_inversion: "embeddings",
    Method.dreambooth_lora: "models/Lora",
    Method.dreambooth: "models/Stable-diffusion",
}
_COMFY_FOLDER = {
    Method.textual_inversion: "models/embeddings",
    Method.dreambooth_lora: "models/loras",
    Method.dreambooth: "models/checkpoints",
}


@dataclass(frozen=True)
class Samples:
    """Generated pictures of a repository, by their paths in it: before training and after, on the same seeds."""

    before: list[str]
    after: list[str]


def build_card(
    manifest: Manifest, photos: PhotoSet, samples: Samples, *, repo_id: str, base_licence: str | None
) -> str:
    """The README.md of a repository, front matter included."""
    prompt = manifest.words.spell(_sample_prompt(manifest))
    cards: Any = ModelCard  # some of its annotations are open
    card = cards.from_template(
        _front_matter(manifest, prompt, samples, base_licence),
        template_path=str(TEMPLATE),
        name=manifest.name,
        summary=_summary(manifest),
        pairs=list(zip(samples.before, samples.after, strict=False)),
        prompt=code_span(prompt),
        trigger=code_span(manifest.trained_words),
        diffusers_code=_diffusers_code(manifest, repo_id),
        file=portable_file(Path(), manifest.name).name,
        a1111_folder=_A1111_FOLDER[manifest.method],
        a1111_words=_a1111_words(manifest),
        comfy_folder=_COMFY_FOLDER[manifest.method],
        comfy_words=_comfy_words(manifest),
        dataset=_dataset(photos),
        base_sentence=_base_sentence(manifest),
        method_sentence=_method_sentence(manifest),
        recipe_block=_recipe_block(manifest),
        versions=", ".join(f"{name} {version}" for name, version in sorted(manifest.versions.items())),
        files=manifest.files,
        studio=SPACE,
    )
    return redacted(str(card))


def _sample_prompt(manifest: Manifest) -> str:
    """What the samples were made with, `<name>` unreplaced."""
    if manifest.recipe:
        return preview_prompt(build_recipe(manifest.recipe))
    return first_prompt(manifest.kind, manifest.name)


def _method_sentence(manifest: Manifest) -> str:
    if (origin := manifest.origin) is None:
        return f"{manifest.steps} steps at {manifest.resolution_px} px. The whole recipe:"
    at = f" at `{origin.revision}`" if origin.revision else ""
    whose = "" if origin.how == "extracted" else " It was not trained by this app, and its maker's licence holds."
    note = f" ({origin.note})" if origin.note else ""
    how = "Extracted" if origin.how == "extracted" else "Imported"
    return f"{how} from {code_span(origin.name)}{at}{note}.{whose}"


def _recipe_block(manifest: Manifest) -> str:
    if not manifest.recipe:
        return ""
    return code_block(json.dumps(public_recipe(manifest), indent=2, ensure_ascii=False), "json")


def public_recipe(manifest: Manifest) -> dict[str, Any]:
    """The recipe without the paths of the machine it ran on."""
    recipe = dict(manifest.recipe)
    if not recipe:
        return {}
    recipe["base"] = public_base_name(manifest.base.name)
    if recipe.get("class_images_dir"):
        recipe["class_images_dir"] = Path(str(recipe["class_images_dir"])).name
    return recipe


def one_line(text: str) -> str:
    """A `---` on a line of its own would end the front matter, even inside a quoted YAML string."""
    return re.sub(r"\s+", " ", text).strip()


def code_span(text: str) -> str:
    """Text as inline code whatever it holds (CommonMark 6.1), on one line."""
    text = one_line(text)
    fence = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    return f"{fence} {text} {fence}" if "`" in text else f"`{text}`"


def code_block(text: str, language: str = "") -> str:
    """Text as a fenced block whatever it holds."""
    fence = "`" * max(3, max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _front_matter(manifest: Manifest, prompt: str, samples: Samples, base_licence: str | None) -> ModelCardData:
    on_hub = HUB_ID.fullmatch(manifest.base.name) is not None
    values: dict[str, Any] = {
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "license": _licence(manifest, base_licence),
        "tags": [TAG, *_FAMILY_TAGS[manifest.base.family], *_TAGS[manifest.method]],
        "instance_prompt": redacted(manifest.trained_words),
        "widget": [{"text": redacted(one_line(prompt)), "output": {"url": path}} for path in samples.after],
    }
    if on_hub:
        values["base_model"] = manifest.base.name
    return ModelCardData(**values)


def _licence(manifest: Manifest, base_licence: str | None) -> str:
    """The base's; what somebody else made has its own, which is not known here."""
    if manifest.origin is not None and manifest.origin.how != "extracted":
        return "other"
    return base_licence or _starter_licence(manifest) or "other"


def _starter_licence(manifest: Manifest) -> str | None:
    if manifest.base.name != STARTER:
        return None
    _, front_matter, _ = (STARTER_FOLDER / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return str(yaml.safe_load(front_matter)["license"])


def _summary(manifest: Manifest) -> str:
    article = {Kind.style: "a style", Kind.person: "a person", Kind.pet: "a pet", Kind.object: "an object"}
    what = article[manifest.kind] + (f" ({code_span(manifest.class_word)})" if manifest.class_word else "")
    text = f"{_SUMMARY[manifest.method]} {what}."
    return text[0].upper() + text[1:]


def _base_sentence(manifest: Manifest) -> str:
    if HUB_ID.fullmatch(manifest.base.name):
        revision = f" at `{manifest.base.revision}`" if manifest.base.revision else ""
        name = manifest.base.name
        return f"Base model: [{name}](https://huggingface.co/{name}){revision}."
    if manifest.base.name == STARTER:
        return "Base model: the starter model of Concept Studio, which its repository holds in `assets/starter`."
    return f"Base model: a folder named {code_span(public_base_name(manifest.base.name))}."


def _diffusers_code(manifest: Manifest, repo_id: str) -> str:
    base = "assets/starter" if manifest.base.name == STARTER else public_base_name(manifest.base.name)
    prompt = json.dumps(f"a photo of {manifest.words_in_diffusers}")
    is_xl = manifest.base.family == "stable-diffusion-xl"
    load = {
        Method.textual_inversion: _load_for_both(manifest, repo_id)
        if is_xl
        else f'pipeline.load_textual_inversion("{repo_id}")\n',
        Method.dreambooth_lora: f'pipeline.load_lora_weights("{repo_id}")\n',
        Method.dreambooth: "",
    }
    source = repo_id if manifest.method is Method.dreambooth else base
    stock = "StableDiffusionXLPipeline" if is_xl else "StableDiffusionPipeline"
    has_vectors_for_two = is_xl and manifest.method is Method.textual_inversion
    return (
        f"from diffusers import {stock}\n"
        f"{_FOR_VECTORS if has_vectors_for_two else ''}\n"
        f"pipeline = {stock}.from_pretrained({json.dumps(source)})\n"
        f"{load[manifest.method]}"
        f"pipeline({prompt}).images[0]"
    )


_FOR_VECTORS = "from huggingface_hub import snapshot_download\nfrom safetensors.torch import load_file\n"


def _load_for_both(manifest: Manifest, repo_id: str) -> str:
    """One file has the vectors for both text encoders, and diffusers is told which are whose."""
    return (
        f'vectors = load_file(snapshot_download("{repo_id}") + "/{EMBEDDING_FILE}")\n'
        + "".join(
            f'pipeline.load_textual_inversion(vectors["{name}"], token={json.dumps(manifest.placeholder)}, '
            f"text_encoder=pipeline.{encoder}, tokenizer=pipeline.{tokenizer})\n"
            for name, encoder, tokenizer in (
                ("clip_l", "text_encoder", "tokenizer"),
                ("clip_g", "text_encoder_2", "tokenizer_2"),
            )
        )
        + (
            "# without this line nothing after the concept's name would reach the pooled text vector\n"
            "pipeline.text_encoder_2.text_model.eos_token_id = pipeline.tokenizer_2.eos_token_id\n"
        )
    )


def _a1111_words(manifest: Manifest) -> str:
    words = code_span(manifest.words_in_a1111)
    if manifest.method is Method.textual_inversion:
        return f"{words} in the prompt: there the file's name is the trigger"
    return words


def _comfy_words(manifest: Manifest) -> str:
    words = code_span(manifest.words_in_comfyui)
    match manifest.method:
        case Method.textual_inversion:
            return f"write {words} in the prompt"
        case Method.dreambooth_lora:
            return f"load it with *Load LoRA*, then write {words}"
        case Method.dreambooth:
            return f"load it with *Load Checkpoint*, then write {words}"


def _dataset(photos: PhotoSet) -> str:
    """What is known of the photos; of a concept from elsewhere, nothing."""
    if not photos.photos:
        return "Not known here: it was not trained by this app."
    usable = photos.usable
    captions = sum(photo.caption is not None for photo in usable)
    described = f", {captions} of them with a caption of its own" if captions else ""
    return f"{len(usable)} photos{described}. They are not part of this repository."
