"""Two methods on the Train page, and both jobs side by side: what is shared, what is refused, who may look."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from starlette.requests import Request

from jobs.record.comparison import Comparison, Order
from tests.engine.conftest import PREVIEWED, small_recipe
from tests.jobs.finished_run import write_finished_run
from tests.ui.conftest import VISITOR, drawn
from tests.ui.visits import scope
from trainer.errors import RequestError
from trainer.photos.intake import PhotoSet, read_dataset, take_folder, write_dataset, write_thumbnail
from trainer.recipe.choices import STARTER, Kind, Method
from trainer.recipe.presets import preset_values
from ui.compare_panel import ComparePanel, choose_pair, comparison_html
from ui.forms import RecipeForm
from ui.polling import _SHOWN_MARK_JS, CALM_POLL_S, POLL_S
from ui.services import Services
from ui.train.handlers import Choices, TrainHandlers
from ui.train.money_fields import MoneyWish
from ui.train.queueing import Press, Queueing, shares_of
from ui.train.second_method import PairHandlers, SecondMethod, SecondMethodFields

CHOICES = Choices(name="red-mug", kind=Kind.object, class_word="mug", method=Method.dreambooth_lora, base=STARTER)
TI = SecondMethod(Method.textual_inversion, 30)
STEPS = {Method.textual_inversion: 1500, Method.dreambooth_lora: 800, Method.dreambooth: 400}


@pytest.fixture
def pair(services: Services) -> PairHandlers:
    form = RecipeForm(CHOICES.method, {})
    form.draw(list(form.fields))
    return PairHandlers(services, form, TrainHandlers(services, form))


@pytest.fixture
def entered(pair: PairHandlers) -> dict[str, Any]:
    """The form with the first method's preset, and what somebody changed in it."""
    form = pair._form
    preset = TrainHandlers(pair._services, form).preset_of(CHOICES)
    values = {name: preset.get(name, field.default) for name, field in form.fields.items()}
    return values | {"seed": 7, "preview_prompt": "<red-mug> at sea", "steps": 40, "learning_rate": 0.3}


@pytest.fixture
def queued(services: Services, tiny_model: Path, photo_folder: Path) -> Comparison:
    """A pair of anna's that waits."""
    first, second = (
        Order(small_recipe(tiny_model, method, **PREVIEWED)) for method in ("textual-inversion", "dreambooth")
    )
    return services.jobs.submitting.submit_pair("anna", (first, second), partial(take_folder, photo_folder))


def test_second_recipe_differs_by_its_method_alone(pair: PairHandlers, entered: dict[str, Any]) -> None:
    recipe = pair.recipe(CHOICES, entered, TI)
    assert (recipe.method, recipe.steps) == (Method.textual_inversion, 30)
    assert (recipe.name, recipe.kind, recipe.class_word, recipe.base) == ("red-mug", Kind.object, "mug", STARTER)
    assert (recipe.seed, recipe.preview_prompt) == (7, "<red-mug> at sea")
    preset = preset_values(recipe.method, recipe.kind, TrainHandlers(pair._services, pair._form).traits(CHOICES))
    assert recipe.learning_rate == preset["learning_rate"]


def test_same_method_twice_is_refused(pair: PairHandlers, entered: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="two different methods"):
        pair.recipe(CHOICES, entered, SecondMethod(CHOICES.method, 30))


def test_plan_names_both_times_and_says_what_is_wrong_with_the_second(
    pair: PairHandlers, entered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = pair.plan(CHOICES, entered, TI)
    assert "Then textual inversion: <strong>30 steps</strong>" in plan
    assert "Both together take about" in plan
    assert "<strong>steps</strong>" in pair.plan(CHOICES, entered, SecondMethod(Method.textual_inversion, 0))
    assert pair.plan(CHOICES, entered | {"steps": 0}, TI) == ""  # the first one's plan says what is wrong
    free = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr("trainer.disk_need.shutil.disk_usage", lambda _folder: free)
    assert "The disk is too full: this training needs" in pair.plan(CHOICES, entered, TI)


class OfferedFields:
    """The second method's fields on a page where an adapter is the first, and what somebody enters."""

    def __init__(self) -> None:
        self.fields = drawn(lambda _: SecondMethodFields(Method.dreambooth_lora, STEPS))
        self.values: dict[Any, Any] = {field: field.value for field in (*self.fields.components, self.fields.offered)}

    def enter(self, *, wanted: bool = True, method: Method | None = None, steps: int | None = None) -> None:
        for field, value in zip(self.fields.components, (wanted, method and method.value, steps), strict=True):
            self.values[field] = self.values[field] if value is None else value

    def answer(self, first: Method, steps_of: Mapping[Method, int]) -> tuple[str, int]:
        """What the fields hold after an answer: the method and its steps."""
        *updates, self.values[self.fields.offered] = self.fields.show(self.values, first, steps_of)
        _, method, steps = self.fields.components
        for field, update in zip((method, steps), updates[1:], strict=True):
            self.values[field] = update.get("value", self.values[field])
        return self.values[method], self.values[steps]


def test_answer_that_changes_nothing_leaves_the_typed_steps_alone() -> None:
    page = OfferedFields()
    page.enter(steps=10)
    assert page.answer(Method.dreambooth_lora, STEPS) == (Method.textual_inversion, 10)  # to the press of the checkbox
    page.enter(steps=12)
    assert page.answer(Method.dreambooth_lora, STEPS) == (Method.textual_inversion, 12)


def test_another_method_or_base_brings_its_own_steps() -> None:
    page = OfferedFields()
    page.enter(steps=10)
    assert page.answer(Method.textual_inversion, STEPS) == (Method.dreambooth_lora, STEPS[Method.dreambooth_lora])
    page.enter(method=Method.dreambooth, steps=10)
    assert page.answer(Method.textual_inversion, STEPS) == (Method.dreambooth, STEPS[Method.dreambooth])
    page.enter(steps=10)
    other_base = dict.fromkeys(Method, 900)
    assert page.answer(Method.textual_inversion, other_base) == (Method.dreambooth, 900)


@pytest.mark.parametrize(
    ("seconds", "limits"),
    [
        ([30.0, 90.0], [0.25, 0.75]),
        ([None, 90.0], [0.5, 0.5]),
        ([None, None], [0.5, 0.5]),
        ([30.0], [1.0]),
        ([None], [1.0]),
    ],
)
def test_limit_is_for_all_together(seconds: list[float | None], limits: list[float]) -> None:
    assert shares_of(1.0, seconds) == limits
    assert shares_of(None, seconds) == [None] * len(seconds)


def test_free_machine_makes_no_bills(services: Services, pair: PairHandlers, entered: dict[str, Any]) -> None:
    second = pair.recipe(CHOICES, entered, TI)
    orders = Queueing(services)._orders([second, second], Press("", money=MoneyWish(limit_usd=1.0)), VISITOR)
    assert [order.bill for order in orders] == [None, None]


def test_waiting_pair_is_drawn_with_what_is_known(services: Services, queued: Comparison) -> None:
    html = comparison_html(services.jobs.compare(*queued.jobs, "anna"))
    assert "textual inversion" in html
    assert "DreamBooth full model" in html
    assert "a photo of &lt;red-mug&gt;" in html
    assert html.count("no preview yet") == 2
    assert "knows the subject" not in html


def test_same_photos_are_shown_once_and_different_ones_of_both(services: Services, queued: Comparison) -> None:
    def shown() -> list[str]:
        html = comparison_html(services.jobs.compare(*queued.jobs, "anna"))
        return re.findall(r'src="studio/run/(\w+)/photos/thumbs/0001.jpg"', html)

    assert shown() == []  # a folder's photos have no thumbnails
    runs = [services.jobs.run_folder(job_id) for job_id in queued.jobs]
    for run in runs:
        write_thumbnail(run.photos, read_dataset(run.photos).usable[0])
    assert shown() == [queued.jobs[0]]
    write_dataset(runs[1].photos, PhotoSet(read_dataset(runs[1].photos).photos[1:]))
    assert shown() == list(queued.jobs)


def test_pair_is_chosen_from_either_job_and_the_first_is_on_the_left(services: Services, queued: Comparison) -> None:
    for job_id in queued.jobs:
        choices, left, right = choose_pair(services, job_id, "anna")
        assert (left, right) == queued.jobs
        assert {value for _, value in choices} == set(queued.jobs)


def test_any_two_finished_concepts_can_be_chosen(
    services: Services, tiny_model: Path, photo_folder: Path, tmp_path: Path
) -> None:
    jobs = [
        services.jobs.submitting.submit("anna", small_recipe(tiny_model, method), partial(take_folder, photo_folder)).id
        for method in ("textual-inversion", "dreambooth-lora", "textual-inversion")
    ]
    for number, job_id in enumerate(jobs[:2]):
        services.jobs.cancel(job_id, "anna")
        done = write_finished_run(tmp_path / f"done{number}", photo_folder)
        done.artifact.rename(services.jobs.run_folder(job_id).artifact)
    choices, left, right = choose_pair(services, jobs[1], "anna")
    assert (left, right) == (jobs[0], jobs[1])
    assert {value for _, value in choices} == set(jobs[:2])  # the third waits, and nobody asked for it
    assert "11 KB" in comparison_html(services.jobs.compare(left, right, "anna"))


def test_only_concept_has_nothing_to_be_compared_with(services: Services, tiny_model: Path, photo_folder: Path) -> None:
    recipe = small_recipe(tiny_model, "textual-inversion")
    job = services.jobs.submitting.submit("anna", recipe, partial(take_folder, photo_folder))
    with pytest.raises(RequestError, match="nothing to compare it with"):
        choose_pair(services, job.id, "anna")


def test_another_owner_sees_no_more_than_of_a_job_that_never_was(services: Services, queued: Comparison) -> None:
    for job_id in (queued.id, "f" * 16):
        with pytest.raises(RequestError, match=r"^There is no such job\.$"):
            choose_pair(services, job_id, "eve")
        with pytest.raises(RequestError, match=r"^There is no such job\.$"):
            services.jobs.compare(job_id, job_id, "eve")


def test_panel_says_once_that_one_of_the_two_is_gone(services: Services, queued: Comparison) -> None:
    panel = drawn(lambda _: ComparePanel(services, "test"))
    request = gr.Request(Request(scope()))
    view = panel._view
    shown, seen, timer, _ = view.refresh(request, "", *queued.jobs)
    assert "One of the two is not there any more" in shown
    assert timer.value == CALM_POLL_S
    assert view.refresh(request, seen, *queued.jobs) == (gr.skip(),) * 4
    in_the_browser = re.search(r"match\(/(.+?)/\)", _SHOWN_MARK_JS)
    assert in_the_browser is not None
    found = re.match(in_the_browser[1], shown)
    assert found is not None and found[0] == seen


def test_panel_is_looked_at_often_only_while_one_of_the_two_trains(services: Services, queued: Comparison) -> None:
    panel = drawn(lambda _: ComparePanel(services, "test"))
    assert panel.open_for(queued.id, "anna")[-2].value == POLL_S
    for job_id in queued.jobs:
        services.jobs.cancel(job_id, "anna")
    assert panel.open_for(queued.id, "anna")[-2].value == CALM_POLL_S


def test_closed_panel_looks_no_more(services: Services, queued: Comparison) -> None:
    panel = drawn(lambda _: ComparePanel(services, "test"))
    assert all(timer.active for timer in panel.open_for(queued.id, "anna")[-2:])
    assert not any(timer.active for timer in panel._closed()[-2:])
