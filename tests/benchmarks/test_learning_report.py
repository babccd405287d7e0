"""Plans, sweeps and reports of the learning benchmark, from results that are made up here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.learning.__main__ import _parser
from tests.benchmarks.learning.cells import Bench, run_cell
from tests.benchmarks.learning.conditions import conditions
from tests.benchmarks.learning.ledger import Ledger
from tests.benchmarks.learning.plan import Cell, Pace, Rates, Side, Wanted, standard_phases
from tests.benchmarks.learning.report import write_report
from tests.benchmarks.learning.subjects import STYLES, SUBJECTS, Subject
from tests.benchmarks.learning.summary import compare, summarise
from tests.benchmarks.learning.sweep import SWEPT, read_rates, sweep_cells, sweep_rows, write_sweep
from trainer.bases import BaseTraits
from trainer.recipe.choices import Kind, Method

TRAITS = BaseTraits("stable-diffusion", 128, "v_prediction", "x", starter=True)
FOX = Subject("fox", "drawn", Kind.pet, "animal", Path("fox"))
POT = Subject("pot", "drawn", Kind.object, "pot", Path("pot"))
PRINT = Subject("print", "style", Kind.style, "", Path("print"))
INVERSION, LORA = Method.textual_inversion, Method.dreambooth_lora


def result(subject: str, side: str = "ours", likeness: float = 0.5, **more: Any) -> dict[str, Any]:
    made = {"subject": subject, "group": "drawn", "method": "textual-inversion", "side": side, "pace": "equal-steps"}
    made |= {"seed": 0, "values": {"learning_rate": 0.02}, "likeness": likeness, "prompt_following": 0.8}
    made |= {"asked": {"style": 0.7, "company": 0.9}, "memorisation": 0.6, "memorisation_limit": 0.7}
    made |= {"likeness_coarse": likeness, "copies": 0.25}
    return made | {"diversity": 0.2, "drift": 0.0, "steps": 350, "seconds": 70.0, "cost_s": 60.0} | more


def test_standard_run_has_all_cells_and_first_seeds_first() -> None:
    phases = standard_phases(Wanted([FOX, POT], list(Method)), TRAITS, Rates({}))
    assert [len(phase) for phase in phases] == [2 * 3 * 2, 2 * 3 * 2, 2 * 3 * 2]
    assert {cell.seed for cell in phases[0]} == {0}
    assert {(c.side, c.pace) for c in phases[1]} == {(Side.theirs, Pace.equal_time), (Side.ours, Pace.half_time)}
    assert all(cell.rival.side is not cell.side for cell in phases[1] if cell.rival)
    assert all(cell.rival in phases[0] for cell in phases[1])
    assert all(replace(cell, pace=Pace.equal_steps, rival=None) in phases[0] for cell in phases[1])
    keys = [cell.key for phase in phases for cell in phase]
    assert len(set(keys)) == len(keys)


def test_without_scripts_there_is_our_side_alone() -> None:
    phases = standard_phases(Wanted([FOX], [LORA], our_seeds=1, their_seeds=0), TRAITS, Rates({}))
    assert [[cell.side for cell in phase] for phase in phases] == [[Side.ours]]


def test_real_subjects_are_learnt_once_unless_more_is_asked_for() -> None:
    real = replace(POT, group="photo")

    def seeds(**more: int) -> set[int]:
        phases = standard_phases(Wanted([real], [LORA], their_seeds=0, **more), TRAITS, Rates({}))
        return {cell.seed for phase in phases for cell in phase}

    assert seeds() == {0}
    assert seeds(photo_seeds=3) == {0, 1, 2}


def test_each_side_learns_at_its_own_best_rate() -> None:
    rates = Rates({"ours textual-inversion drawn": 0.01, "theirs textual-inversion drawn": 0.05})
    (cells, *_) = standard_phases(Wanted([FOX, PRINT], [INVERSION]), TRAITS, rates)
    assert {(cell.side, cell.values["learning_rate"]) for cell in cells} == {(Side.ours, 0.01), (Side.theirs, 0.05)}


def test_a_cell_is_another_cell_with_another_recipe() -> None:
    cell = Cell("fox", LORA, 0, values={"rank": 4})
    assert replace(cell, values={"rank": 8}).key != cell.key
    assert replace(cell, varied="rank").key == cell.key


def test_ledger_knows_what_is_finished(tmp_path: Path) -> None:
    ledger, cells = Ledger(tmp_path, tmp_path / "measured"), [Cell("fox", LORA, seed) for seed in range(3)]
    ledger.finish(cells[1], {"likeness": 0.5})
    assert ledger.open_cells(cells) == [cells[0], cells[2]]
    assert ledger.results(cells) == [(cells[1], {"likeness": 0.5})]
    assert [file.name for file in ledger.measured.iterdir()] == [f"{cells[1].key}.json"]


def test_equal_time_needs_both_sides_at_equal_steps(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "base", tmp_path, tmp_path / "measured", checkout=tmp_path / "diffusers")
    (bench.subjects / "fox").mkdir(parents=True)
    (bench.subjects / "fox" / "subject.json").write_text(
        '{"name": "fox", "group": "drawn", "kind": "pet", "class_word": "animal", "things": [], "trained_things": [], '
        '"pictures": ""}'
    )
    cell = Cell("fox", LORA, 0, Side.theirs, Pace.equal_time, rival=Cell("fox", LORA, 0))
    with pytest.raises(LookupError, match="equal steps"):
        run_cell(bench, cell)
    with pytest.raises(LookupError, match="--diffusers"):
        run_cell(replace(bench, checkout=None), cell)


def test_rows_take_the_median_of_subjects_and_count_memorised_cells() -> None:
    results = [
        result("a", likeness=0.2),
        result("a", likeness=0.4),
        result("b", likeness=0.6),
        result("c", likeness=0.9),
    ]
    results.append(result("c", likeness=0.9, memorisation=0.8))
    (row,) = summarise(results)
    assert (row.cells, row.subjects) == (5, 3)
    assert row.likeness.value == pytest.approx(0.6)
    assert row.memorised == pytest.approx(0.2)
    assert row.copies == pytest.approx(0.25)
    assert row.likeness.low < 0.6 < row.likeness.high


def test_comparison_is_made_subject_by_subject() -> None:
    results = [result("a", likeness=0.5), result("b", likeness=0.9)]
    results += [result("a", "theirs", likeness=0.4, cost_s=120.0), result("b", "theirs", likeness=0.8, cost_s=120.0)]
    (comparison,) = compare(results)
    assert comparison.likeness.value == pytest.approx(0.1)
    assert comparison.likeness.low == pytest.approx(0.1)
    assert comparison.time_ratio == pytest.approx(0.5)


def test_half_of_their_time_is_compared_with_their_run_at_equal_steps() -> None:
    results = [result("a", likeness=0.5), result("a", likeness=0.45, pace="half-time", cost_s=50.0, steps=290)]
    results += [result("a", "theirs", likeness=0.4, cost_s=100.0)]
    results += [result("a", "theirs", likeness=0.2, cost_s=60.0, pace="equal-time")]
    found = {c.pace: (c.likeness.value, c.time_ratio) for c in compare(results)}
    assert found == {
        "equal-steps": (pytest.approx(0.1), pytest.approx(0.6)),
        "equal-time": (pytest.approx(0.3), pytest.approx(1.0)),
        "half-time": (pytest.approx(0.05), pytest.approx(0.5)),
    }


def test_report_shows_both_paces_and_the_bases_own_answers(tmp_path: Path) -> None:
    results = [result("a"), result("a", "theirs"), result("a", "theirs", pace="equal-time", steps=90)]
    class_words = {"drawn": {"a": {"style": 1.0, "company": 0.5}}}
    text = write_report(results, tmp_path, planned=7, base="x", class_words=class_words, note="No sweep.")
    assert "3 of 7 runs" in text
    assert text.startswith("No sweep.")
    assert "at equal steps" in text
    assert "in half of their time" not in text
    assert "at equal time" in text
    assert "| the base with the class word | 100% | 50% |" in text
    assert {file.name for file in tmp_path.iterdir()} == {
        "results.json",
        "report.md",
        "front-drawn.svg",
        "likeness-drawn.svg",
    }


def test_sweep_tries_rates_on_both_sides_and_other_fields_on_ours() -> None:
    cells = sweep_cells([FOX, PRINT], list(Method), list(Side), ["learning_rate", "rank", "prior_weight"], TRAITS, {})
    theirs = [cell for cell in cells if cell.side is Side.theirs]
    assert {cell.varied for cell in theirs} == {"learning_rate"}
    assert {c.values["rank"] for c in cells if c.varied == "rank"} == {4, 8, 16, 32}
    assert {c.method for c in cells if c.varied == "rank"} == {LORA}
    assert {c.subject for c in cells if c.varied == "prior_weight"} == {"fox"}


def test_best_rate_of_a_saved_sweep_is_read_on_the_same_base_only(tmp_path: Path) -> None:
    cells = sweep_cells([FOX], [INVERSION], [Side.ours], ["learning_rate"], TRAITS, {})
    tried = [(c, result("fox", likeness=0.1 * n, values=c.values)) for n, c in enumerate(cells)]
    file = tmp_path / "sweep.json"
    write_sweep(file, "x", sweep_rows(tried, {}))
    best = cells[-1].values["learning_rate"]
    assert read_rates(file, "x").of(Side.ours, INVERSION, "drawn") == best
    assert read_rates(file, "x").of(Side.ours, INVERSION, "style") == best  # not swept: as things
    assert read_rates(file, "x").of(Side.theirs, INVERSION, "drawn") is None
    assert read_rates(file, "another base").best == {}


def test_a_later_sweep_of_another_field_keeps_the_earlier_rows(tmp_path: Path) -> None:
    file = tmp_path / "sweep.json"
    for field in ("learning_rate", "vectors"):
        cells = sweep_cells([FOX], [INVERSION], [Side.ours], [field], TRAITS, {})
        write_sweep(file, "x", sweep_rows([(c, result("fox", values=c.values)) for c in cells], {}))
    table = file.with_suffix(".md").read_text()
    assert "| learning_rate |" in table
    assert "| vectors |" in table


def test_rates_are_compared_on_the_same_subjects_and_the_preset_alone(tmp_path: Path) -> None:
    """A value that failed on one subject, and rows of another recipe, must not win by being easier."""
    cells = sweep_cells([FOX, POT], [INVERSION], [Side.ours], ["learning_rate"], TRAITS, {})
    rates = sorted({cell.values["learning_rate"] for cell in cells})

    def likeness(cell: Cell) -> float:
        return {rates[0]: 0.9, rates[1]: 0.4}.get(cell.values["learning_rate"], 0.2)

    done = [cell for cell in cells if (cell.subject, cell.values["learning_rate"]) != ("pot", rates[0])]
    file = tmp_path / "sweep.json"
    write_sweep(
        file, "x", sweep_rows([(c, result(c.subject, likeness=likeness(c), values=c.values)) for c in done], {})
    )
    assert read_rates(file, "x").of(Side.ours, INVERSION, "drawn") == rates[1]
    other = [
        (c, result(c.subject, likeness=1.0, values=c.values)) for c in cells if c.values["learning_rate"] == rates[2]
    ]
    write_sweep(file, "x", sweep_rows(other, {"vectors": 2}))
    assert read_rates(file, "x").of(Side.ours, INVERSION, "drawn") == rates[1]
    write_sweep(file, "y", sweep_rows(other, {}))
    assert read_rates(file, "y").of(Side.ours, INVERSION, "drawn") == rates[2]
    assert read_rates(file, "x").of(Side.ours, INVERSION, "drawn") == rates[1]
    assert "vectors=2" in file.with_suffix(".md").read_text()


def test_sweep_learns_what_the_standard_run_does_not() -> None:
    run, sweep = (_parser().parse_args([command]) for command in ("run", "sweep"))
    assert run.subjects is None
    assert not set(SWEPT) & {name.replace(" ", "-") for name in (*SUBJECTS, *STYLES)}
    assert sweep.subjects is None  # SWEPT, unless others are asked for


def test_results_of_another_exam_or_other_defaults_lie_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = conditions(None)
    assert conditions(None) == usual != conditions(1)
    monkeypatch.setattr("tests.benchmarks.learning.exam.BACKGROUNDS", ("red",))
    assert conditions(None) != usual
