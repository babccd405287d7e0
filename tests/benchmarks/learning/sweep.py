"""Tries values of one recipe field at a time around the preset, and keeps what came of each.

The learning rate is tried on both sides with the same values, and the best of each side is what the standard run uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.learning.files import read_json, write_json, write_whole
from tests.benchmarks.learning.plan import Cell, Rates, Side, rate_key, recipe_values
from tests.benchmarks.learning.subjects import Subject
from tests.benchmarks.learning.summary import Result, dominated, score
from trainer.bases import BaseTraits
from trainer.recipe.choices import Kind, Method

RATE = "learning_rate"
SWEPT = ("panda", "cactus", "halftone")  # none of them is in the standard run, whose rates are chosen on these
LORA, WHOLE, INVERSION = Method.dreambooth_lora, Method.dreambooth, Method.textual_inversion
# field -> (methods that have it, values; or factors of the preset's value)
FACTORS: dict[str, tuple[tuple[Method, ...], tuple[float, ...]]] = {
    RATE: (tuple(Method), (0.5, 1, 2)),
    "steps": (tuple(Method), (0.5, 1, 2, 4)),
}
VALUES: dict[str, tuple[tuple[Method, ...], tuple[Any, ...]]] = {
    "rank": ((LORA,), (4, 8, 16, 32)),
    "vectors": ((INVERSION,), (1, 4, 8, 16)),
    "text_encoder_share": ((LORA, WHOLE), (0.0, 0.3, 0.6)),
    "prior_weight": ((LORA, WHOLE), (0.0, 0.5, 1.0)),
    "min_snr_gamma": (tuple(Method), (None, 5.0)),
    "batch_size": (tuple(Method), (1, 4, 8)),
    "name_background": (tuple(Method), (False, True)),
    "variants_per_photo": (tuple(Method), (1, 2, 4)),
}
FIELDS = (*FACTORS, *VALUES)


def sweep_cells(
    subjects: Iterable[Subject],
    methods: Sequence[Method],
    sides: Sequence[Side],
    fields: Sequence[str],
    traits: BaseTraits,
    overrides: Mapping[str, Any],
) -> list[Cell]:
    """Every value of every field for every method that has it; theirs tries learning rates only."""
    return [
        Cell(s.name, m, 0, side, values=values, varied=field)
        for field in fields
        for s in subjects
        for m in methods
        for side in sides
        if side is Side.ours or field == RATE
        for values in _variants(s, m, side, field, traits, overrides)
    ]


def _variants(
    subject: Subject, method: Method, side: Side, field: str, traits: BaseTraits, overrides: Mapping[str, Any]
) -> list[dict[str, Any]]:
    preset = recipe_values(subject, method, side, traits, Rates({}), overrides)
    having, tried = (FACTORS | VALUES)[field]
    if method not in having or (field in ("prior_weight", "name_background") and subject.kind is Kind.style):
        return []
    if field in FACTORS:
        whole = isinstance(preset[field], int)
        tried = tuple(round(preset[field] * f) if whole else float(f"{preset[field] * f:.3g}") for f in tried)
    return [{**preset, field: value} for value in tried]


def sweep_rows(tried: Iterable[tuple[Cell, Result]], overrides: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each value that was tried, averaged over subjects, with its score and whether it is on the front."""
    sets: dict[tuple[str, ...], list[tuple[Cell, Result]]] = {}
    for cell, result in tried:
        key = (cell.side, cell.method, result["group"], cell.varied, str(cell.values.get(cell.varied)))
        sets.setdefault(key, []).append((cell, result))
    given = ", ".join(f"{name}={value}" for name, value in sorted(overrides.items()))
    rows = [{**_row(found), "overrides": given} for found in sets.values()]
    for row in rows:
        rivals = [r for r in rows if all(r[n] == row[n] for n in ("side", "method", "group", "subjects"))]
        points = [(r["likeness"], r["prompt_following"]) for r in rivals]
        row["front"] = not dominated(row["likeness"], row["prompt_following"], points)
    return rows


def _row(tried: Sequence[tuple[Cell, Result]]) -> dict[str, Any]:
    cell, found = tried[0][0], [result for _, result in tried]
    names = ("likeness", "prompt_following", "drift", "diversity", "cost_s", "steps")
    means = {name: sum(r[name] for r in found) / len(found) for name in names}
    return {
        "side": cell.side.value,
        "method": cell.method.value,
        "group": found[0]["group"],
        "field": cell.varied,
        "value": cell.values.get(cell.varied),
        "subjects": sorted(r["subject"] for r in found),
        **means,
        "memorisation_over_limit": sum(r["memorisation"] - r["memorisation_limit"] for r in found) / len(found),
        "score": score(means["likeness"], means["prompt_following"]),
    }


def write_sweep(file: Path, base: str, rows: list[dict[str, Any]]) -> None:
    """Write FILE.json and, beside it, the same as a table. Other rows stay, of this base and of others."""
    kept = read_json(file) if file.exists() else {}
    names = ("side", "method", "group", "field", "value", "overrides", "subjects")
    new = {tuple(str(row[n]) for n in names) for row in rows}
    earlier = kept.get(base, {"rows": []})["rows"]
    rows = [*(r for r in earlier if tuple(str(r[n]) for n in names) not in new), *rows]
    kept[base] = {"rows": rows, "best": _best_rates(rows)}
    write_json(file, kept)
    text = "\n".join(describe_sweep(base, each["rows"]) for base, each in kept.items())
    write_whole(file.with_suffix(".md"), lambda aside: aside.write_text(text, encoding="utf-8"))


def _best_rates(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The rate that stands highest for every side, method and group.

    Only rows of the preset count, and only those on as many subjects as any: means over others cannot be compared.
    """
    tried: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["field"] == RATE and not row["overrides"]:
            tried.setdefault(rate_key(Side(row["side"]), Method(row["method"]), row["group"]), []).append(row)
    best: dict[str, float] = {}
    for key, rivals in tried.items():
        most = max((row["subjects"] for row in rivals), key=lambda subjects: (len(subjects), subjects))
        comparable = [row for row in rivals if row["subjects"] == most]
        best[key] = float(max(comparable, key=lambda row: row["score"])["value"])
    return best


def read_rates(file: Path, base: str) -> Rates:
    """The best rates of a saved sweep; none where there is no sweep on this base."""
    return Rates(read_json(file).get(base, {"best": {}})["best"] if file.exists() else {})


def describe_sweep(base: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a Markdown table; the best of each field is in bold."""
    head = "| group | method | side | with | field | value | likeness | prompt following | over memorisation limit |"
    head += " drift | seconds | score | on the front |"
    lines = [f"Base {base}; one field varied at a time around the preset.", "", head, "|---" * 13 + "|"]
    for row in sorted(rows, key=lambda r: (r["group"], r["method"], r["side"], r["field"], str(r["value"]).zfill(12))):
        line = f"| {row['group']} | {row['method']} | {row['side']} | {row['overrides']} | {row['field']} |"
        line += f" {row['value']} | {row['likeness']:+.2f} |"
        line += f" {row['prompt_following']:.2f} | {row['memorisation_over_limit']:+.2f} |"
        line += f" {row['drift']:.2f} | {row['cost_s']:.0f} | {_score(row, rows)} | {'yes' if row['front'] else ''} |"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _score(row: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> str:
    names = ("group", "method", "side", "field", "overrides", "subjects")
    best = max(r["score"] for r in rows if all(r[n] == row[n] for n in names))
    return f"**{row['score']:.2f}**" if row["score"] == best else f"{row['score']:.2f}"
