"""What is wrong is said on the Train page, in the plan and when Train is pressed; nothing is queued or lost."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from huggingface_hub import HfApi, constants

from app import build_services
from jobs.record.state import JobState
from jobs.record.store import SINGLE_OWNER, JobStore, open_engine
from jobs.submission import preflight
from tests.hub.accounts import ALICE, BOB
from tests.jobs.made_by_hand import measured
from tests.ui.conftest import VISITOR, drawn, in_a_loop
from trainer.errors import BaseModelError, HubError, RecipeError, RequestError
from trainer.machine.devices import Device, cpu
from trainer.photos.crop import Crop
from trainer.recipe.choices import STARTER, Kind, Method
from trainer.recipe.recipe_file import recipe_text
from trainer.settings import Settings
from ui.forms import class_word_for
from ui.layout import build_page
from ui.services import Services
from ui.train.handlers import ADAPTER, DREAMBOOTH, TEXTUAL_INVERSION, Choices, TrainHandlers
from ui.train.photos_panel import PhotosHandlers, photos_html
from ui.train.publish_fields import PublishWish
from ui.train.queueing import Press
from ui.train.second_method import SecondMethod
from ui.train.tab import TrainTab

BASE = "alice/tiny"
Client = Callable[[str | None], HfApi]


class TrainPage:
    """The Train page of bob's laptop, with photos in it."""

    def __init__(self, services: Services, photos: Path) -> None:
        self.services = services
        tab = drawn(lambda page: TrainTab(services, page))
        self._handlers: TrainHandlers = tab._handlers
        self.tab = tab
        self._entered = {name: widget.value for name, widget in tab._form.widgets.items()} | {"steps": 8}
        self.draft = services.drafts.new_id()
        for file in sorted(photos.glob("*.jpg")):
            services.drafts.add(SINGLE_OWNER, self.draft, file, source=file.name)

    def plan(self, base: str, name: str = "red-mug") -> str:
        return self._handlers.plan(_choices(base, name), self._entered)

    def press(self, base: str, name: str = "red-mug", *, publish: PublishWish | None = None) -> str:
        return self._handlers.submit(_choices(base, name), self._entered, Press(self.draft, publish), VISITOR)

    def assert_nothing_happened(self) -> None:
        assert self.services.jobs.views(SINGLE_OWNER) == []
        assert len(self.services.drafts.read(SINGLE_OWNER, self.draft).usable) == 5


def _choices(base: str, name: str) -> Choices:
    return Choices(name=name, kind=Kind.object, class_word="mug", method=Method.dreambooth_lora, base=base)


@pytest.fixture
def page(
    client: Client,
    tmp_path: Path,
    photo_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[TrainPage]:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(preflight, "REMEMBER_REFUSAL_S", 0.0)
    monkeypatch.setenv("HF_TOKEN", BOB)
    services = build_services(Settings(home=tmp_path / "home"), [cpu()])
    yield TrainPage(services, photo_folder)
    services.jobs.close()


@pytest.fixture
def alice(client: Client, tiny_model: Path) -> HfApi:
    """Alice's client; the tiny model is on the Hub as hers."""
    alice = client(ALICE)
    alice.create_repo(BASE)
    alice.upload_folder(repo_id=BASE, folder_path=tiny_model)
    return alice


def test_precision_that_this_machine_lacks_is_refused_at_its_field(page: TrainPage) -> None:
    page._entered["precision"] = "fp16"
    assert "fp16 does not train on a CPU" in page.plan(STARTER)
    with pytest.raises(RecipeError, match="precision: fp16 does not train on a CPU"):
        page.press(STARTER)
    page.assert_nothing_happened()


@pytest.mark.fault(21)
@pytest.mark.parametrize(
    ("base", "words"), [("alice/tinny", "no model alice/tinny"), ("alice tiny", "There is no base model")]
)
def test_base_that_does_not_exist_is_said_and_nothing_is_queued(page: TrainPage, base: str, words: str) -> None:
    assert words in page.plan(base)
    with pytest.raises(BaseModelError, match=words):
        page.press(base)
    page.assert_nothing_happened()


@pytest.mark.fault(22)
def test_gated_base_is_trained_on_as_soon_as_its_terms_are_accepted(page: TrainPage, alice: HfApi) -> None:
    alice.update_repo_settings(BASE, gated="manual")
    assert f"/{BASE}, accept its terms" in page.plan(BASE)
    with pytest.raises(BaseModelError, match="is gated"):
        page.press(BASE)
    page.assert_nothing_happened()
    alice.grant_access(BASE, "bob")
    job = page.press(BASE)
    assert page.services.jobs.run_folder(job).read_recipe().base_revision == alice.model_info(BASE).sha


@pytest.mark.fault(46)
@pytest.mark.parametrize(
    "name", ["", "m", "🐶🐶", "mug\nmug", "m" * 10_000, "<script>alert(1)</script>", "{{ 7 * 7 }}", "---"]
)
def test_hostile_name_is_refused_with_the_rule_and_shown_as_text(page: TrainPage, name: str) -> None:
    with pytest.raises(RecipeError, match="2 to 40 of a-z"):
        page.press("starter", name)
    assert "<script>" not in page.plan("starter", name)
    assert "<script>" not in page._handlers.name_check(name, "starter", VISITOR)
    page.assert_nothing_happened()


def test_name_of_a_finished_concept_is_said_to_be_in_use(page: TrainPage) -> None:
    job, said = page.press("starter", "red-mug"), "You have a concept of this name"
    assert said not in page._handlers.name_check("red-mug", "starter", VISITOR)  # it waits
    store = JobStore(open_engine(Settings(home=page.services.jobs.runs_dir.parent).jobs_database_url))
    for state in (JobState.running, JobState.finished):
        assert store.change_state(job, state)
    store.close()
    assert said in page._handlers.name_check("red-mug", "starter", VISITOR)
    assert said not in page._handlers.name_check("blue-mug", "starter", VISITOR)


@pytest.mark.fault(46)
def test_existing_word_is_a_warning_and_no_refusal(page: TrainPage) -> None:
    assert "is a word that the model knows" in page._handlers.name_check("cat", "starter", VISITOR)
    assert page.press("starter", "cat")


@pytest.mark.parametrize(
    ("kind", "entered", "shown"),
    [("pet", "object", "animal"), ("pet", "poodle", gr.skip()), ("style", "poodle", ""), ("pet", "", "animal")],
)
def test_class_word_of_a_kind_takes_no_typed_words_place(kind: str, entered: str, shown: Any) -> None:
    assert class_word_for(kind, entered) == shown


def test_examples_leave_the_way_back_to_ones_own_photos(page: TrainPage) -> None:
    handlers = PhotosHandlers(page.services)
    first, _ = handlers.take_example(0, page.draft, VISITOR)
    second, shown = handlers.take_example(1, page.draft, VISITOR)
    assert len({page.draft, first, second}) == 3
    assert 'data-action="back"' in shown
    ((_, reloaded),) = handlers.restore(second, page.draft, VISITOR)
    assert 'data-action="back"' in reloaded
    back = gr.EventData(None, {"action": "back"})
    ((draft, shown),) = handlers.act(second, page.draft, back, VISITOR)
    assert draft == page.draft
    assert shown.count("<figure") == 5
    for nothing_to_go_back_to in ("", page.services.drafts.new_id(), "../anna", None):
        assert 'data-action="back"' not in handlers.take_example(0, nothing_to_go_back_to, VISITOR)[1]


def test_square_of_a_photo_is_chosen_and_found_again(page: TrainPage) -> None:
    handlers, drafts = PhotosHandlers(page.services), page.services.drafts
    photo = drafts.read(SINGLE_OWNER, page.draft).photos[0]

    def press(**chosen: Any) -> str:
        event = gr.EventData(None, {"action": "crop", "file": photo.file, **chosen})
        ((draft, shown),) = handlers.act(page.draft, page.draft, event, VISITOR)
        assert draft == page.draft
        return shown

    first = photos_html(page.draft, drafts.read(SINGLE_OWNER, page.draft))
    changed = press(left=3, top=2, side=100)
    assert changed != first  # the browser keeps pictures by their address
    assert drafts.read(SINGLE_OWNER, page.draft).photos[0].crop == Crop(3, 2, 100)
    assert press() == first
    for broken in ({"side": "x", "left": 0, "top": 0}, {"side": 100}, {"side": 1e400, "left": 0, "top": 0}):
        with pytest.raises(RequestError, match="not a square"):
            press(**broken)


def test_photos_of_a_job_are_trained_on_once_more(page: TrainPage) -> None:
    job = page.press("starter")
    filled = dict(zip(page.tab.refilled, page.tab.refill(job, "", VISITOR), strict=True))
    draft, shown, kind, name, word, way, form, base, preset, *_ = filled.values()
    assert (kind, name, word, way, base) == ("object", "red-mug", "mug", DREAMBOOTH, "starter")
    assert (form["value"], form["visible"]) == (ADAPTER, True)
    settings = {name: filled[widget] for name, widget in page.tab._form.widgets.items()}
    assert settings["steps"]["value"] == 8 != preset["steps"]
    assert settings["learning_rate"]["value"] == preset["learning_rate"]
    assert {name for name, field in settings.items() if not field["visible"]} == {"vectors", "initializer"}
    assert len(page.services.drafts.read(SINGLE_OWNER, draft).usable) == 5 == shown.count("<figure")
    assert draft != job
    assert 'data-action="back"' in page.tab.refill(job, draft, VISITOR)[1]
    shutil.rmtree(page.services.jobs.run_folder(job).photos)
    with pytest.raises(RequestError, match="not here any more"):
        page.tab.refill(job, "", VISITOR)


def test_own_class_pictures_come_back_to_the_owner_of_the_machine(page: TrainPage, tmp_path: Path) -> None:
    page._entered |= {"prior_weight": 1.0, "class_images_dir": "/nowhere"}
    assert "/nowhere is not a folder" in page.plan(STARTER)
    page._entered["class_images_dir"] = str(tmp_path)
    job = page.press(STARTER)
    assert page.services.jobs.run_folder(job).read_recipe().class_images_dir == tmp_path
    filled = dict(zip(page.tab.refilled, page.tab.refill(job, "", VISITOR), strict=True))
    field = page.tab._form.widgets["class_images_dir"]
    assert (filled[field]["value"], filled[field]["visible"]) == (str(tmp_path), True)


def test_visitors_have_no_field_for_a_folder_of_the_machine(services: Services) -> None:
    assert "class_images_dir" not in drawn(lambda page: TrainTab(services, page))._form.widgets


def filled_from(page: TrainPage, text: str, **typed: Any) -> tuple[dict[Any, Any], str]:
    """What a recipe file fills in, by component, and what is said of it; `typed` is on the page before."""
    tab, file = page.tab, page.services.runtime_dir.parent / "mug.yaml"
    file.write_text(text, encoding="utf-8")
    values = {component: component.value for component in tab._inputs} | {tab._recipe_file.button: str(file)}
    values |= {getattr(tab, f"_{name}"): value for name, value in typed.items()}
    *filled, note = tab._take_recipe(values, VISITOR)
    return dict(zip(tab._filled, filled, strict=True)), note


def test_settings_come_back_from_a_recipe_file_as_from_a_job(page: TrainPage) -> None:
    job = page.press("starter")
    recipe = page.services.jobs.run_folder(job).read_recipe()
    filled, note = filled_from(page, recipe_text(recipe), name="blue-mug", way=TEXTUAL_INVERSION)
    of_job = dict(zip(page.tab.refilled, page.tab.refill(job, "", VISITOR), strict=True))
    assert filled == {component: of_job[component] for component in filled}
    assert page.tab._photos.draft not in filled  # nor the photos: they stay
    assert "Filled in from mug.yaml" in note


def test_recipe_file_leaves_the_words_that_it_does_not_say(page: TrainPage) -> None:
    filled, _ = filled_from(page, "steps: 77", name="blue-mug", class_word="mug", way=TEXTUAL_INVERSION)
    tab = page.tab
    assert [filled[each] for each in (tab._name, tab._class_word, tab._way)] == ["blue-mug", "mug", TEXTUAL_INVERSION]
    assert filled[tab._form.widgets["steps"]]["value"] == 77
    filled, _ = filled_from(page, "{kind: pet, name: anna}", name="", class_word="mug")
    assert [filled[each] for each in (tab._kind, tab._name, tab._class_word)] == ["pet", "anna", "animal"]
    assert filled_from(page, "steps: 5")[0][tab._name] == ""  # not the name that stands in for it


@pytest.mark.fault(46)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "cannot be read"),
        ("\0\1\2", "cannot be read"),
        ("x" * 50_000, "20,000 characters is the most"),
        ("{steps: many, vektors: 3}", "no such field"),
        ("base: /nothing/there", "There is no base model"),
        ("name: <script>", "2 to 40 of a-z"),
    ],
)
def test_recipe_file_that_is_none_is_said_and_changes_nothing(page: TrainPage, text: str, words: str) -> None:
    filled, note = filled_from(page, text, name="blue-mug")
    assert words in note
    assert "<script>" not in note
    assert all(update == gr.skip() for update in filled.values())


def test_recipe_file_of_another_commit_of_its_base_says_so(page: TrainPage, alice: HfApi) -> None:
    first = str(alice.model_info(BASE).sha)
    alice.upload_file(path_or_fileobj=b"new", path_in_repo="README.md", repo_id=BASE)
    newest = str(alice.model_info(BASE).sha)
    text = f"{{base: {BASE}, base_revision: {first}}}"
    assert f"at commit {newest[:7]}, not at {first[:7]}" in filled_from(page, text)[1]
    assert "at commit" not in filled_from(page, f"base: {BASE}")[1]


def test_press_before_the_settings_of_a_choice_have_come_queues_nothing(page: TrainPage) -> None:
    tab = page.tab
    shown = {**{component: component.value for component in tab._inputs}, tab._preset: tab._preset.value}
    shown |= {tab._name: "red-mug", tab._photos.draft: page.draft, tab._way: TEXTUAL_INVERSION}
    with pytest.raises(RequestError, match="on their way"):
        tab._submit(shown, VISITOR)
    page.assert_nothing_happened()


def test_settings_that_a_choice_does_not_change_are_left_as_they_were_typed(page: TrainPage) -> None:
    form, before = page.tab._form, {"steps": 350, "learning_rate": 2e-3}
    updates = form.show(
        Method.dreambooth_lora,
        {**before, "learning_rate": 1e-4},
        before=Method.textual_inversion,
        values_before=before,
    )
    by_name = dict(zip(form.widgets, updates, strict=True))
    assert by_name["steps"] == gr.skip()
    assert by_name["learning_rate"]["value"] == 1e-4
    assert by_name["rank"]["visible"]
    assert not by_name["vectors"]["visible"]


def test_listeners_of_an_event_do_not_keep_each_other_busy(services: Services) -> None:
    """Gradio repeats the whole event for each listener that was busy when it came, if that is "always_last"."""
    page = in_a_loop(lambda: build_page(services))
    repeating = [listener for listener in page.fns.values() if listener.trigger_mode == "always_last"]
    events = Counter(event for listener in repeating for event in listener.targets)
    assert events
    assert [page.blocks[number].elem_id for (number, _), count in events.items() if count > 1] == []


def test_trouble_with_a_name_is_said_in_words(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    def name_check(*_: object) -> str:
        raise OSError("/a/folder/of/this/machine")

    monkeypatch.setattr(TrainHandlers, "name_check", name_check)
    page = drawn(lambda page: (TrainTab(services, page), page)[1])
    (check,) = [listener.fn for listener in page.fns.values() if listener.name == "name_check"]
    assert check is not None
    with pytest.raises(gr.Error, match="it is in the log"):
        check("red-mug", STARTER, VISITOR)


@pytest.mark.fault(47)
def test_name_that_the_hub_would_not_take_is_said_before_anything_is_queued(page: TrainPage) -> None:
    with pytest.raises(RecipeError, match="which stands between two others"):
        page.press("starter", "red--mug", publish=PublishWish())
    page.assert_nothing_happened()


def entered_wish(page: TrainPage, *values: object) -> PublishWish | None:
    fields = page.tab._publish
    return fields.read(dict(zip(fields.components, values, strict=True)))


def test_concept_goes_where_its_owner_wants_it_and_is_private_unless_they_say_so(
    page: TrainPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[str] = []
    monkeypatch.setattr(page.services.tokens, "own", ALICE)
    monkeypatch.setattr(page.services.tokens, "hand_over", lambda _owner, token: handed.append(token))
    assert entered_wish(page, False, "acme/mugs", False) is None
    with pytest.raises(HubError, match="may not write"):
        page.press(STARTER, publish=entered_wish(page, True, "readers/mugs", True))
    page.assert_nothing_happened()
    job = page.press(STARTER, publish=entered_wish(page, True, " acme/mugs ", False))
    publication = page.services.jobs.publishing.of(job)
    assert publication is not None
    assert (publication.repo_id, publication.private, handed) == ("acme/mugs", False, [ALICE])


def test_next_concept_is_private_and_goes_to_a_repository_of_its_own(page: TrainPage) -> None:
    fields = page.tab._publish
    after = dict(zip(fields.of_one_concept, fields.for_the_next_concept(), strict=True))
    wish = fields.read(dict.fromkeys(fields.components, True) | after)
    assert wish == PublishWish("", private=True)


def test_two_concepts_of_one_press_go_to_two_repositories(page: TrainPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page.services.tokens, "own", ALICE)
    monkeypatch.setattr(page.services.tokens, "hand_over", lambda _owner, _token: None)
    press = Press(page.draft, entered_wish(page, True, "acme/mugs", True))
    second = SecondMethod(Method.textual_inversion, 8)
    page.tab._pair.submit(second, _choices(STARTER, "red-mug"), page._entered, press, VISITOR)
    jobs = [view.job.id for view in page.services.jobs.views(SINGLE_OWNER)]
    publications = page.services.jobs.publishing.of_all(jobs).values()
    assert {p.repo_id for p in publications} == {"acme/mugs-dreambooth-lora", "acme/mugs-textual-inversion"}
    assert all(p.private for p in publications)


def test_concept_without_a_repository_goes_privately_to_its_owners_account(
    page: TrainPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page.services.tokens, "own", ALICE)
    monkeypatch.setattr(page.services.tokens, "hand_over", lambda _owner, _token: None)
    publication = page.services.jobs.publishing.of(page.press(STARTER, publish=entered_wish(page, True, None, True)))
    assert publication is not None
    assert (publication.repo_id, publication.private) == ("alice/red-mug", True)


def test_disk_that_a_large_training_takes_is_said(page: TrainPage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "of disk while it trains" not in page.plan(STARTER)
    monkeypatch.setattr("ui.train.handlers.training_bytes", lambda _recipe: 21_300_000_000)
    assert "about 21.3" in page.plan(STARTER)


def test_memory_is_said_where_it_is_known(page: TrainPage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "memory" not in page.plan(STARTER)
    recipe = page._handlers.recipe(_choices(STARTER, "red-mug"), page._entered)
    page.services.jobs.speeds.memory.learn(recipe, measured(900_000_000, cpu().name))
    assert "about 900 MB of memory" in page.plan(STARTER)
    monkeypatch.setattr(page.services.jobs.fleet, "own", (Device(0, "NVIDIA T4"),))
    page.services.jobs.speeds.memory.learn(recipe, measured(20_000_000_000, "NVIDIA L4"))
    assert "about 20.0 GB of GPU memory" in page.plan(STARTER)
    monkeypatch.setattr("ui.train.memory_plan.gpu_bytes", lambda _devices: 16_000_000_000)
    assert "has 16.0 GB of memory, which is too little: switch on gradient" in page.plan(STARTER)


@pytest.mark.fault(17)
def test_disk_that_is_too_full_is_said_in_the_plan(page: TrainPage, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr("trainer.disk_need.shutil.disk_usage", lambda _folder: usage._replace(free=1000))
    assert "The disk is too full: this training needs" in page.plan(STARTER)
    with pytest.raises(RequestError, match="too full"):
        page.press(STARTER)
    page.assert_nothing_happened()


def test_wrong_base_is_said_also_where_the_photos_are_still_missing(page: TrainPage) -> None:
    page.draft = ""
    with pytest.raises(BaseModelError, match="nothing"):
        page.press("alice/nothing")
    with pytest.raises(RequestError, match="Add some photos first"):
        page.press(STARTER)
