"""The Try it page keeps what belongs together: weights with their concepts, a prompt with who wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from app import build_services
from inference.grid import Axis, GridSettings, Varied
from inference.metadata import PictureSettings
from inference.request import PictureRequest
from jobs.record.store import SINGLE_OWNER
from tests.ui.conftest import PICTURE, VISITOR, drawn, learnt_concept
from trainer.artifact import read_manifest, write_manifest
from trainer.errors import RequestError
from trainer.machine.devices import Device, cpu
from trainer.recipe.choices import STARTER, Method
from trainer.settings import Owners, Settings
from ui.services import Services
from ui.try_it.concept_fields import MAX_CONCEPTS
from ui.try_it.drawing_panel import HISTORY, DrawingPanel
from ui.try_it.handlers import FoundAgain, TryHandlers
from ui.try_it.tab import TryTab
from ui.try_it.tried import what_was_tried


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    services = build_services(Settings(home=tmp_path / "home"), [cpu()])
    yield services
    services.jobs.close()


@pytest.fixture
def concept(services: Services, tmp_path: Path, photo_folder: Path, tiny_model: Path) -> Callable[[str], str]:
    """Makes a concept of this name in the library; returns its job."""

    return lambda name: learnt_concept(services, tmp_path, tiny_model, photo_folder, name)


def shown(tab: TryTab, picked: list[str], prompt: str, weights: list[float], whose: list[str]) -> tuple[Any, ...]:
    """The values of the sliders that are shown, and the prompt, after this was picked."""
    sliders = dict(zip(tab._concepts._sliders, [*weights, *[1.0] * (MAX_CONCEPTS - len(weights))], strict=True))
    values = {tab._concepts.picked: picked, tab._prompt: prompt, tab._concepts._weighed: whose, **sliders}
    *updates, _, _, words = tab._show_picked(values, VISITOR)
    return [update["value"] for update in updates if update["visible"]], words


def test_weight_stays_with_its_concept(services: Services, concept: Callable[[str], str]) -> None:
    mug, cat = concept("red-mug"), concept("old-cat")
    tab = drawn(lambda _: TryTab(services, what_was_tried()))
    assert shown(tab, [mug, cat], "x", [0.3], [mug])[0] == [0.3, 1.0]
    assert shown(tab, [cat], "x", [0.3, 1.5], [mug, cat])[0] == [1.5]
    assert shown(tab, [cat], "x", [0.3], [mug])[0] == [1.0]


def test_suggestion_is_replaced_and_what_a_person_wrote_is_not(
    services: Services, concept: Callable[[str], str]
) -> None:
    mug, cat = concept("red-mug"), concept("old-cat")
    tab = drawn(lambda _: TryTab(services, what_was_tried()))
    for theirs in ("a photo of <red-mug> made of glass on a red background", "a photo of snow on a red background"):
        assert shown(tab, [mug, cat], theirs, [1.0], [mug])[1] == gr.skip()
    suggested = "a photo of <red-mug> on a red background"
    assert shown(tab, [mug], "", [1.0], [])[1] == suggested
    assert (
        shown(tab, [mug, cat], suggested, [1.0], [mug])[1]
        == "a photo of <red-mug> next to <old-cat> on a red background"
    )


def test_concepts_of_one_name_are_told_apart_by_when_they_were_made(
    services: Services, concept: Callable[[str], str]
) -> None:
    labels = [label for label, _ in TryHandlers(services).choices(SINGLE_OWNER)]
    assert labels == []
    for name in ("red-mug", "red-mug", "cat"):
        concept(name)
    labels = [label for label, _ in TryHandlers(services).choices(SINGLE_OWNER)]
    assert [label.count("·") for label in sorted(labels)] == [1, 2, 2]


def test_older_pictures_are_a_press_away(services: Services, tmp_path: Path) -> None:
    folder = services.pictures.folder(SINGLE_OWNER)
    folder.mkdir(parents=True)
    for number in range(HISTORY + 2):
        Image.new("RGB", (8, 8)).save(folder / f"{number:04d}.png")
    panel = drawn(lambda _: DrawingPanel(services, gr.Button()))
    first, all_of_them = (panel.history(SINGLE_OWNER, count) for count in (HISTORY, 2 * HISTORY))
    assert (first.count("<figure"), all_of_them.count("<figure")) == (HISTORY, HISTORY + 2)
    assert ("Show older" in first, "Show older" in all_of_them) == (True, False)


def test_settings_follow_a_base_that_is_typed_and_stay_where_it_did_not_change(
    services: Services, tiny_model: Path
) -> None:
    tab = drawn(lambda _: TryTab(services, what_was_tried()))
    usual = tab._handlers.defaults([])
    base, width, *_, fitted_to = tab._fit_base([], f" {tiny_model} ", usual)
    assert (base, width, fitted_to["base"]) == (str(tiny_model), 64, str(tiny_model))
    assert tab._fit_base([], str(tiny_model), fitted_to)[1] == gr.skip()
    assert tab._fit_base(["a job"], STARTER, fitted_to)[1] == gr.skip()


def test_settings_that_suit_a_second_concept_as_well_stay_as_they_were_set(
    services: Services, concept: Callable[[str], str]
) -> None:
    mug, cat = concept("red-mug"), concept("old-cat")
    tab = drawn(lambda _: TryTab(services, what_was_tried()))
    base, width, *_, fitted_to = tab._fit([mug], tab._handlers.defaults([]), VISITOR)
    assert (base, width) == (tab._handlers.describe([mug], SINGLE_OWNER)[0].base, 64)
    base_again, *others, _ = tab._fit([mug, cat], fitted_to, VISITOR)
    assert base_again == base
    assert others == [gr.skip()] * len(others)
    assert tab._fit([], fitted_to, VISITOR)[:2] == [STARTER, 128]


def test_weight_is_of_the_concept_that_the_slider_shows_not_of_its_place(
    services: Services, concept: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mug, cat = concept("red-mug"), concept("old-cat")
    tab = drawn(lambda _: TryTab(services, what_was_tried()))
    asked: list[PictureRequest] = []

    def begin(_owner: str, requests: list[PictureRequest], *_: Any, **__: Any) -> SimpleNamespace:
        asked.extend(requests)
        return SimpleNamespace(key="")

    monkeypatch.setattr(services.drawings, "begin", begin)
    sampled: dict[Any, Any] = {widget: PICTURE.get(name) for name, widget in tab._sampler.of.items()}
    sliders = dict(zip(tab._concepts._sliders, [0.3, 1.5, 1.0, 1.0], strict=True))
    values = {**sampled, **tab._grid.filled(None), **sliders, tab._sampler.base: "", tab.drawing.count: HISTORY}
    values |= {
        tab._concepts.picked: [cat],
        tab._concepts._weighed: [mug, cat],
        tab._prompt: "a <old-cat>",
        tab._count: 1,
    }
    tab._make(values, VISITOR)
    assert [use.weight for use in asked[0].concepts] == [1.5]


def test_grid_for_hours_on_a_shared_processor_is_refused_and_on_a_gpu_is_not(tmp_path: Path) -> None:
    cells = [PictureRequest(prompt="a mug", width=1024, height=1024, steps=25)] * 3

    def ask(device: Device, owners: Owners) -> None:
        settings = Settings(home=tmp_path, owners=owners, train_here=False)
        services = build_services(settings, [device])
        services.drawings.begin("anna", cells, tmp_path / "pictures")
        services.jobs.close()

    with pytest.raises(RequestError, match="fewer pictures, fewer steps or a smaller size"):
        ask(cpu(), Owners.browser)
    ask(Device(0, "a GPU"), Owners.browser)
    ask(cpu(), Owners.single)


def test_base_in_a_folder_comes_back_where_the_field_still_names_the_folder(services: Services) -> None:
    settings = PictureSettings.model_validate({**PICTURE, "base": "sd15", "prompt": "a cat", "seed": 1})
    trying = TryHandlers(services)
    assert trying.base_of(settings, [], "/models/sd15") == "/models/sd15"
    assert trying.base_of(settings, [], "/models/sd21") == "sd15"


def test_folder_of_a_concepts_base_is_not_shown_and_found_again(
    services: Services, concept: Callable[[str], str], tiny_model: Path
) -> None:
    mug = concept("red-mug")
    trying = TryHandlers(services)
    base = trying.defaults(trying.describe([mug], SINGLE_OWNER))["base"]
    assert base == tiny_model.name
    assert trying.request([mug], [1.0], {**PICTURE, "base": base}, SINGLE_OWNER).base == str(tiny_model)


def test_what_was_tried_comes_back_if_it_is_still_there(services: Services, concept: Callable[[str], str]) -> None:
    tab, job = drawn(lambda _: TryTab(services, what_was_tried())), concept("red-mug")
    tried = tab._remember([job, "gone"], "a <red-mug>", VISITOR)
    concepts, _, prompt, base, *_ = tab.restore(tried, HISTORY, VISITOR)
    assert (concepts["value"], prompt) == ([job], "a <red-mug>")
    assert base != STARTER  # of the concept
    for strange in (None, [], {"concepts": [job]}, tried | {"owner": "who has signed out"}):
        assert tab.restore(strange, HISTORY, VISITOR)[2] == ""


def test_second_concept_of_a_name_alone_is_called_by_it_in_the_prompt_that_comes_back(
    services: Services, concept: Callable[[str], str]
) -> None:
    jobs = [concept("red-mug"), concept("red-mug")]
    handlers, artifact = TryHandlers(services), services.jobs.run_folder(jobs[1]).artifact
    manifest = read_manifest(artifact)
    files = [entry.model_copy(update={"sha256": "f" * 64}) for entry in manifest.files]
    write_manifest(artifact, manifest.model_copy(update={"files": files}))
    asked = {**PICTURE, "base": STARTER, "prompt": "a <Red-Mug-2> beside a <Red-Mug-20>"}
    used = [{"name": "red-mug", "alias": "red-mug-2", "sha256": "f" * 64, "weight": 0.5}]
    settings = PictureSettings.model_validate({**asked, "seed": 1, "concepts": used})
    found = handlers.concepts_of(settings, SINGLE_OWNER)
    assert found == FoundAgain(jobs[1:], [0.5])
    entries = handlers.describe(found.jobs, SINGLE_OWNER)
    assert handlers.prompt_of(settings, entries) == "a <red-mug> beside a <Red-Mug-20>"


def test_concept_that_has_learnt_more_since_is_found_by_its_name_and_that_is_said(
    services: Services, concept: Callable[[str], str]
) -> None:
    concept("red-mug")
    newest = concept("red-mug")
    used = [{"name": name, "sha256": "0" * 64, "weight": 0.7} for name in ("red-mug", "old-cat")]
    trying = TryHandlers(services)
    made_with = {**PICTURE, "base": STARTER, "concepts": used}
    found = trying.concepts_of(PictureSettings.model_validate(made_with), SINGLE_OWNER)
    assert found == FoundAgain([newest], [0.7], missing=["old-cat"], changed=["red-mug"])
    note = trying.restored_note(found, started_from_picture=False)
    assert "&lt;old-cat&gt; is not in your library" in note
    assert "&lt;red-mug&gt; is another one of this name than the picture was made with" in note


def test_concept_is_not_taken_twice_for_two_of_its_name(services: Services, concept: Callable[[str], str]) -> None:
    left = concept("red-mug")
    sha256 = read_manifest(services.jobs.run_folder(left).artifact).weights_sha256
    used = [{"name": "red-mug", "alias": f"red-mug-{n}", "sha256": sha} for n, sha in enumerate(("0" * 64, sha256))]
    settings = PictureSettings.model_validate({**PICTURE, "base": STARTER, "concepts": used})
    found = TryHandlers(services).concepts_of(settings, SINGLE_OWNER)
    assert found == FoundAgain([left], [1.0], missing=["red-mug"])


def test_picture_to_start_from_that_is_gone_is_to_be_chosen_again(services: Services, tmp_path: Path) -> None:
    entered = {**PICTURE, "base": STARTER, "init_image": str(tmp_path / "gone.png")}
    with pytest.raises(RequestError, match="Choose it again"):
        TryHandlers(services).request([], [], entered, SINGLE_OWNER)


@pytest.mark.fault(60)
def test_concept_that_is_gone_is_said_and_nothing_is_drawn_without_it(
    services: Services, concept: Callable[[str], str]
) -> None:
    mug, cat = concept("red-mug"), concept("old-cat")
    trying = TryHandlers(services)
    services.jobs.delete(mug, SINGLE_OWNER)
    with pytest.raises(RequestError, match="not here any more"):
        trying.request([mug, cat], [0.5, 1.5], {**PICTURE, "base": STARTER}, SINGLE_OWNER)


def test_commit_of_a_concepts_base_is_not_asked_of_another_base(
    services: Services, concept: Callable[[str], str], tiny_model: Path
) -> None:
    mug = concept("red-mug")
    artifact = services.jobs.run_folder(mug).artifact
    manifest = read_manifest(artifact)
    pinned = manifest.base.model_copy(update={"revision": "c0ffee"})
    write_manifest(artifact, manifest.model_copy(update={"base": pinned}))
    for base, revision in ((str(tiny_model), "c0ffee"), (STARTER, None)):
        asked = TryHandlers(services).request([mug], [1.0], {**PICTURE, "base": base}, SINGLE_OWNER)
        assert asked.base_revision == revision


def test_grid_is_read_from_the_page_and_comes_back_to_it(services: Services) -> None:
    tab = drawn(lambda _: TryTab(services, what_was_tried()))
    fields, request = tab._grid, PictureRequest(prompt="a red apple")
    empty = fields.filled(None)
    assert fields.read(empty, request) is None
    axes = GridSettings(
        across=Axis(varied=Varied.steps, values=("2", "4")),
        down=Axis(varied=Varied.words, values=("red", "blue, dark")),
    )
    grid = fields.read(fields.filled(axes), request)
    assert grid is not None
    assert grid.settings == axes
    only_down = empty | {fields.of["down"]: "seed", fields.of["down_values"]: "1,2"}
    grid = fields.read(only_down, request)
    assert grid is not None
    assert [cell.seed for cell in grid.cells] == [1, 2]
    left_behind = fields.filled(axes) | {fields.of["across"]: "", fields.of["down"]: ""}
    assert fields.read(left_behind, request) is None


def test_grid_may_take_whole_models_one_after_another(services: Services, concept: Callable[[str], str]) -> None:
    jobs = [concept("red-mug"), concept("red-mug")]
    for job in jobs:
        artifact = services.jobs.run_folder(job).artifact
        manifest = read_manifest(artifact).model_copy(update={"method": Method.dreambooth})
        write_manifest(artifact, manifest)
    trying, entered = TryHandlers(services), {**PICTURE, "base": STARTER}
    with pytest.raises(RequestError, match="cannot be combined"):
        trying.request(jobs, [1.0, 1.0], entered, SINGLE_OWNER)
    asked = trying.request(jobs, [1.0, 1.0], entered, SINGLE_OWNER, one_at_a_time=True)
    assert [use.alias for use in asked.concepts] == ["red-mug", "red-mug-2"]
