"""Writes what a run found: raw results as JSON, tables as Markdown, charts as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.learning.charts import write_charts
from tests.benchmarks.learning.files import write_json, write_whole
from tests.benchmarks.learning.plan import Pace, Side
from tests.benchmarks.learning.summary import Comparison, Result, Row, compare, summarise

GROUPS = {"drawn": "Held-out things", "style": "Held-out styles", "photo": "Real subjects, by photos"}
HEAD = (
    "| method | likeness | coarse | prompt following | memorisation over its limit | runs over it | pictures over it |"
)
HEAD += " diversity | drift | steps | seconds | learning rate | runs |"


def write_report(
    results: Sequence[Result],
    folder: Path,
    *,
    planned: int,
    base: str,
    class_words: Mapping[str, Mapping[str, Mapping[str, float]]],
    note: str = "",
) -> str:
    """Write results.json, report.md and the charts; returns the Markdown.

    `class_words` is group -> subject -> question -> what the base reaches with the plain class word; `note` is said
    before everything else.
    """
    rows, comparisons = summarise(results), compare(results)
    write_json(
        folder / "results.json",
        {
            "base": base,
            "results": list(results),
            "rows": [asdict(row) for row in rows],
            "comparisons": [asdict(comparison) for comparison in comparisons],
            "class words": class_words,
        },
    )
    write_charts(rows, folder)
    text = describe(rows, comparisons, planned=planned, done=len(results), base=base, class_words=class_words)
    text = f"{note}\n\n{text}" if note else text
    write_whole(folder / "report.md", lambda aside: aside.write_text(text, encoding="utf-8"))
    return text


def describe(
    rows: Sequence[Row],
    comparisons: Sequence[Comparison],
    *,
    planned: int,
    done: int,
    base: str,
    class_words: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> str:
    """The tables as Markdown."""
    lines = [
        f"Base {base}. {done} of {planned} runs are done. In brackets: 95 % intervals, bootstrap over subjects.",
        "",
    ]
    for group, title in GROUPS.items():
        of_group = [row for row in rows if row.group == group]
        if not of_group:
            continue
        lines += [f"## {title}", "", HEAD, "|---" * (HEAD.count("|") - 1) + "|"]
        lines += [_row_line(row) for row in of_group if _is_ours(row)]
        lines += ["", *_asked_lines(of_group, class_words.get(group, {}))]
        for pace in Pace:
            lines += _versus_lines(of_group, [c for c in comparisons if c.group == group], pace)
    return "\n".join(lines).rstrip() + "\n"


def _is_ours(row: Row) -> bool:
    """Whether it is our side as anybody would train, not the short runs that only the comparison needs."""
    return row.side == Side.ours and row.pace == Pace.equal_steps


def _row_line(row: Row) -> str:
    figures = f"| {row.method} | {row.likeness} | {row.likeness_coarse} | {row.prompt_following} |"
    figures += f" {row.memorisation_over_limit:+.2f} | {row.memorised:.0%} | {row.copies:.0%} |"
    figures += f" {row.diversity:.2f} | {row.drift:.2f} |"
    return f"{figures} {row.steps:.0f} | {row.cost_s:.0f} | {row.learning_rate:.3g} | {row.cells} |"


def _asked_lines(rows: Sequence[Row], class_words: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Prompt following question by question; last, what the base does with the plain class word."""
    questions = list(rows[0].asked)
    lines = [f"| asked | {' | '.join(questions)} |", "|---" * (len(questions) + 1) + "|"]
    for row in rows:
        if _is_ours(row):
            lines.append(f"| {row.method} | {' | '.join(f'{row.asked[q]:.0%}' for q in questions)} |")
    if class_words:
        means = [sum(asked[q] for asked in class_words.values()) / len(class_words) for q in questions]
        lines.append(f"| the base with the class word | {' | '.join(f'{mean:.0%}' for mean in means)} |")
    return [*lines, ""]


def _versus_lines(rows: Sequence[Row], comparisons: Sequence[Comparison], pace: Pace) -> list[str]:
    """Our runs beside the scripts' at one pace."""
    found = [c for c in comparisons if c.pace == pace]
    if not found:
        return []
    title = "ours in half of their time" if pace is Pace.half_time else f"at {pace.replace('-', ' ')}"
    lines = [f"### Against diffusers' scripts, {title}", ""]
    lines += ["| method | likeness, ours | theirs | difference | coarse, difference |"]
    lines[-1] += (
        " prompt following, ours | theirs | difference | our time / theirs | their steps | their learning rate |"
    )
    lines += ["|---" * 11 + "|"]
    our_pace, their_pace = pace.compared
    for c in found:
        ours = next(r for r in rows if (r.method, r.side, r.pace) == (c.method, Side.ours, our_pace))
        theirs = next(r for r in rows if (r.method, r.side, r.pace) == (c.method, Side.theirs, their_pace))
        line = f"| {c.method} | {ours.likeness} | {theirs.likeness} | {c.likeness} | {c.likeness_coarse} |"
        line += f" {ours.prompt_following} | {theirs.prompt_following} | {c.prompt_following} |"
        line += f" {c.time_ratio:.2f} | {theirs.steps:.0f} |"
        lines.append(f"{line} {theirs.learning_rate:.3g} |")
    return [*lines, ""]
