from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.catalog import open_concept, use_together
from inference.engine import Engine
from inference.request import PictureRequest
from tests.engine.conftest import go_on
from trainer.artifact import read_manifest, write_manifest
from trainer.errors import BaseModelError, ConceptError, RequestError
from trainer.run_folder import RunFolder

Runs = dict[str, RunFolder]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("cache"))
    yield engine
    engine.unload()


def ask(base: Path, runs: list[tuple[RunFolder, float]], prompt: str, **changes: object) -> PictureRequest:
    values = {"width": 64, "height": 64, "steps": 2, "seed": 3, "guidance": 3.0, **changes}
    uses = use_together([(run.root, weight) for run, weight in runs])
    return PictureRequest(prompt=prompt, base=str(base), concepts=uses, **values)  # type: ignore[arg-type]


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, dtype=int)


def differ(one: Image.Image, other: Image.Image) -> bool:
    return bool(np.abs(pixels(one) - pixels(other)).max() > 0)


def test_same_request_gives_the_same_pictures(engine: Engine, tiny_model: Path) -> None:
    request = ask(tiny_model, [], "a photo of a teapot", count=2)
    first, second = engine.generate(request).pictures, engine.generate(request).pictures
    assert [p.tobytes() for p in first] == [p.tobytes() for p in second]
    assert differ(first[0], first[1])


@pytest.mark.parametrize("method", ["textual-inversion", "dreambooth-lora", "dreambooth"])
def test_concept_changes_the_picture_and_leaves_no_trace(
    engine: Engine, tiny_model: Path, concepts: Runs, method: str
) -> None:
    plain = ask(tiny_model, [], "a photo of <red-mug>")
    before = engine.generate(plain).pictures[0]
    with_concept = engine.generate(ask(tiny_model, [(concepts[method], 1.0)], "a photo of <red-mug>"))
    after = engine.generate(plain).pictures[0]
    assert differ(before, with_concept.pictures[0])
    assert not differ(before, after)
    assert with_concept.concepts[0]["name"] == "red-mug"
    assert with_concept.notes == []
    unnamed = engine.generate(ask(tiny_model, [(concepts[method], 1.0)], "a photo"))
    assert unnamed.notes == ["<red-mug> is not in the prompt, so it may not show."]
    trained_on = read_manifest(concepts[method].artifact).trained_words
    in_its_own_words = engine.generate(ask(tiny_model, [(concepts[method], 1.0)], f"a photo of {trained_on.upper()}"))
    assert not any("is not in the prompt" in note for note in in_its_own_words.notes)


def test_concepts_are_swapped_without_reloading_the_base(engine: Engine, tiny_model: Path, concepts: Runs) -> None:
    engine.generate(ask(tiny_model, [], "x"))
    family = engine._family
    for method in ("textual-inversion", "dreambooth-lora", "textual-inversion"):
        engine.generate(ask(tiny_model, [(concepts[method], 1.0)], "<red-mug>"))
        assert engine._family is family


@pytest.mark.parametrize("method", ["textual-inversion", "dreambooth-lora"])
def test_weight_matters(engine: Engine, tiny_model: Path, concepts: Runs, method: str) -> None:
    made = {
        weight: engine.generate(ask(tiny_model, [(concepts[method], weight)], "a <red-mug> on red")).pictures[0]
        for weight in (0.3, 1.0, 1.6)
    }
    assert differ(made[0.3], made[1.0])
    assert differ(made[1.0], made[1.6])


def test_lora_at_weight_zero_is_the_base(engine: Engine, tiny_model: Path, concepts: Runs) -> None:
    off = engine.generate(ask(tiny_model, [(concepts["dreambooth-lora"], 0.0)], "a <red-mug>")).pictures[0]
    plain = engine.generate(ask(tiny_model, [], "a red-mug teapot")).pictures[0]
    assert np.abs(pixels(off) - pixels(plain)).max() <= 1


def test_several_concepts_of_one_name_work_together_under_aliases(
    engine: Engine, tiny_model: Path, concepts: Runs
) -> None:
    both = [(concepts["textual-inversion"], 1.0), (concepts["dreambooth-lora"], 0.7)]
    request = ask(tiny_model, both, "a <red-mug> and a <red-mug-2>")
    assert [use.alias for use in request.concepts] == ["red-mug", "red-mug-2"]
    result = engine.generate(request)
    assert [c["alias"] for c in result.concepts] == ["red-mug", "red-mug-2"]
    alone = engine.generate(ask(tiny_model, both[:1], "a <red-mug> and a <red-mug-2>"))
    assert differ(result.pictures[0], alone.pictures[0])


def test_two_textual_inversions_of_one_name_are_told_apart(engine: Engine, tiny_model: Path, concepts: Runs) -> None:
    run = concepts["textual-inversion"]
    two = engine.generate(ask(tiny_model, [(run, 1.0), (run, 1.0)], "a <red-mug-2>")).pictures[0]
    one = engine.generate(ask(tiny_model, [(run, 1.0)], "a <red-mug>")).pictures[0]
    assert np.abs(pixels(two) - pixels(one)).max() <= 1


def test_adapter_works_on_top_of_a_full_model(engine: Engine, tiny_model: Path, concepts: Runs) -> None:
    pair = [(concepts["dreambooth"], 1.0), (concepts["textual-inversion"], 1.0)]
    assert len(engine.generate(ask(tiny_model, pair, "a <red-mug-2>")).pictures) == 1


def test_two_full_models_are_refused_in_words(concepts: Runs) -> None:
    with pytest.raises(RequestError, match="cannot be combined"):
        use_together([(concepts["dreambooth"].root, 1.0)] * 2)


def test_concept_of_another_base_is_refused_in_words(engine: Engine, tiny_model: Path, concepts: Runs) -> None:
    with pytest.raises(ConceptError, match="was trained on"):
        engine.generate(ask(tiny_model, [(concepts["other-base"], 1.0)], "<red-mug>"))
    assert engine.generate(ask(tiny_model, [], "still works")).pictures


def test_concept_that_is_deleted_meanwhile_is_named_without_its_folder(
    engine: Engine, tiny_model: Path, concepts: Runs, tmp_path: Path
) -> None:
    run = RunFolder(Path(shutil.copytree(concepts["textual-inversion"].root, tmp_path / "run")))
    request = ask(tiny_model, [(run, 1.0)], "<red-mug>")
    shutil.rmtree(run.root)
    with pytest.raises(ConceptError, match=r"^The concept <red-mug> is not here any more\.$"):
        engine.generate(request)


@pytest.mark.fault(60)
def test_missing_base_is_refused_in_words(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match="no base model"):
        engine.generate(ask(tmp_path / "gone", [], "x"))


def test_word_weights_change_the_picture(engine: Engine, tiny_model: Path) -> None:
    plain, stressed, pasted = (
        engine.generate(ask(tiny_model, [], prompt)).pictures[0]
        for prompt in ("a red teapot", "a (red)1.5 teapot", "a (red:1.5) teapot")
    )
    assert differ(plain, stressed)
    assert not differ(stressed, pasted)


def test_long_prompts_are_not_cut_off(engine: Engine, tiny_model: Path) -> None:
    long = "a photo of a teapot on a red background in my style " * 14
    one = engine.generate(ask(tiny_model, [], long + "blue dog"))
    other = engine.generate(ask(tiny_model, [], long + "red cat"))
    assert differ(one.pictures[0], other.pictures[0])


@pytest.mark.parametrize(
    "prompt", ["((a teapot", "a teapot)", 'say "', "a .and( b", "++", "(", "a (b)1.x", "{}[]<>", "🙂 ümlaut"]
)
def test_no_prompt_breaks_it(engine: Engine, tiny_model: Path, prompt: str) -> None:
    assert len(engine.generate(ask(tiny_model, [], prompt)).pictures) == 1


def test_negative_prompt_matters(engine: Engine, tiny_model: Path) -> None:
    plain = engine.generate(ask(tiny_model, [], "a teapot")).pictures[0]
    assert differ(plain, engine.generate(ask(tiny_model, [], "a teapot", negative_prompt="blue dog")).pictures[0])


def test_image_to_image_starts_from_the_picture(engine: Engine, tiny_model: Path, tmp_path: Path) -> None:
    Image.linear_gradient("L").convert("RGB").save(tmp_path / "start.png")
    weak = ask(tiny_model, [], "a teapot", init_image=tmp_path / "start.png", strength=0.1, steps=10)
    strong = weak.model_copy(update={"strength": 1.0})
    assert differ(engine.generate(weak).pictures[0], engine.generate(strong).pictures[0])


@pytest.mark.parametrize(
    "method",
    ["dreambooth-lora", *(pytest.param(m, marks=pytest.mark.slow) for m in ("textual-inversion", "dreambooth"))],
)
def test_result_that_was_trained_on_meanwhile_is_loaded_anew(
    engine: Engine, tiny_model: Path, prepared: Callable[..., RunFolder], cache: Path, method: str
) -> None:
    run = prepared(tiny_model, method, steps=2, learning_rate=0.01)
    go_on(run, cache)
    request = ask(tiny_model, [(run, 1.0)], "a photo of <red-mug>")
    before = engine.generate(request)
    run.write_recipe(run.read_recipe().model_copy(update={"steps": 6}))
    go_on(run, cache)
    after = engine.generate(request)
    assert before.concepts[0]["sha256"] != after.concepts[0]["sha256"]
    assert differ(before.pictures[0], after.pictures[0])


@pytest.mark.parametrize(
    "method",
    ["dreambooth-lora", *(pytest.param(m, marks=pytest.mark.slow) for m in ("textual-inversion", "dreambooth"))],
)
def test_concept_is_drawn_as_it_was_at_a_checkpoint(
    engine: Engine, tiny_model: Path, prepared: Callable[..., RunFolder], cache: Path, method: str
) -> None:
    schedule = {"steps": 4, "checkpoint_every_steps": 2, "ema_decay": 0.5, "learning_rate": 0.05}
    run = prepared(tiny_model, method, **schedule)
    go_on(run, cache)
    result = ask(tiny_model, [(run, 1.0)], "a photo of <red-mug>")
    (use,) = result.concepts
    at = {s: result.model_copy(update={"concepts": (use.model_copy(update={"step": s}),)}) for s in (2, 4)}
    drawn = {step: engine.generate(request) for step, request in at.items()}
    assert [d.concepts[0]["step"] for d in drawn.values()] == [2, 4]
    final = engine.generate(result)
    assert "step" not in final.concepts[0]
    assert differ(drawn[2].pictures[0], final.pictures[0])
    away = np.abs(pixels(drawn[4].pictures[0]) - pixels(final.pictures[0])).max()
    assert away <= (2 if method == "dreambooth" else 0)  # the result of a whole model is rounded to fp16

    weights = run.checkpoint_folder(2) / "average.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(ConceptError, match=r"checkpoint of <red-mug> at step 2 is gone or damaged"):
        engine.generate(at[2])
    assert not differ(engine.generate(result).pictures[0], final.pictures[0])


def test_every_concept_has_an_alias_of_its_own(concepts: Runs, tmp_path: Path) -> None:
    names = ["cup", "cup", "cup-2"]
    folders = []
    for number, name in enumerate(names):
        folder = tmp_path / str(number)
        shutil.copytree(concepts["textual-inversion"].artifact, folder)
        manifest = read_manifest(folder)
        write_manifest(folder, manifest.model_copy(update={"name": name}))
        folders.append(folder)
    assert [use.alias for use in use_together([(folder, 1.0) for folder in folders])] == ["cup", "cup-2", "cup-2-2"]


def test_progress_counts_all_batches(engine: Engine, tiny_model: Path) -> None:
    seen: list[tuple[int, int]] = []
    engine.generate(ask(tiny_model, [], "x", count=6), lambda done, total: seen.append((done, total)))
    assert seen[-1] == (12, 12)
    assert [d for d, _ in seen] == sorted(d for d, _ in seen)


@pytest.mark.fault(60)
def test_catalog_opens_what_is_finished_only(concepts: Runs, tmp_path: Path) -> None:
    assert open_concept(concepts["dreambooth"].root).is_whole_model
    assert open_concept(concepts["dreambooth"].artifact).is_whole_model
    with pytest.raises(ConceptError, match="no finished concept"):
        open_concept(tmp_path)


def test_full_model_draws_without_the_base_that_it_came_from(engine: Engine, tmp_path: Path, concepts: Runs) -> None:
    request = ask(tmp_path / "gone", [(concepts["dreambooth"], 1.0)], "a <red-mug>")
    assert len(engine.generate(request).pictures) == 1
    with pytest.raises(BaseModelError):
        engine.generate(ask(tmp_path / "gone", [(concepts["dreambooth-lora"], 1.0)], "a <red-mug>"))
