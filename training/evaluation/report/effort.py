"""Sections on how scores relate to searches, profiles and aspects, and on what the answers cost."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from training.evaluation.loading import LoadedRun
from training.evaluation.records import Record
from training.evaluation.report import charts
from training.evaluation.report.blocks import Block, Chart, Paragraph, Section, Table
from training.evaluation.report.figures import Group, by_aspect, by_profile_size, by_searches, cost, tokens
from training.evaluation.report.formatting import NONE, number
from training.evaluation.statistics import spread


def breakdown_sections(runs: Sequence[LoadedRun]) -> list[Section]:
    """Show scores by searches, by profile size and, for rubrics, by aspect."""
    sections = [
        _breakdown(
            "Score by number of searches",
            "Fully judged questions, by how many searches were made for them. Who searches more may have had "
            "the harder question: this shows no cause.",
            "searches",
            {run.name: by_searches(run) for run in runs},
        ),
        _breakdown(
            "Score by profile size",
            "Fully judged questions, in quartiles of the number of documents in the person's profile.",
            "documents",
            by_profile_size(runs),
        ),
    ]
    if any(run.has_rubrics for run in runs):
        about = "Judged aspects, by their place in the rubric; 0, 1 and 2 are shown as 0, 0.5 and 1."
        by_rubric = {run.name: by_aspect(run) for run in runs}
        sections.append(_breakdown("Score by aspect", about, "aspect", by_rubric))
    return sections


def _breakdown(title: str, about: str, unit: str, groups: Mapping[str, Sequence[Group]]) -> Section:
    labels = list(dict.fromkeys(group.label for found in groups.values() for group in found))
    if all(label.isdigit() for label in labels):
        labels.sort(key=int)
    by_label = {name: {group.label: group for group in found} for name, found in groups.items()}
    rows = [
        [name, *(_cell(found[label]) if label in found else NONE for label in labels)]
        for name, found in by_label.items()
    ]
    dots = []
    for label in labels:
        row = [
            charts.Dot(name, group.mean, group.interval, f"n {len(group.values)}", series)
            for series, (name, found) in enumerate(by_label.items())
            if (group := found.get(label)) and group.mean is not None
        ]
        if row:
            dots.append((_unit(label, unit), row))
    head = ["Run", *(_unit(label, unit) for label in labels)]
    blocks: list[Block] = [Paragraph(about), Table(head, rows, range(len(rows)))]
    if dots:
        blocks.append(Chart(charts.dots(dots, title), "Dots: means. Lines: 95 % intervals. n: how many."))
    return Section(title, blocks)


def _unit(label: str, unit: str) -> str:
    if unit == "aspect":
        return f"aspect {label}"
    return f"{label} {'search' if (label, unit) == ('1', 'searches') else unit}"


def _cell(group: Group) -> str:
    return f"{number(group.mean)}\nn {len(group.values)}"


def effort_section(runs: Sequence[LoadedRun]) -> Section:
    """Show how the questions ended, and their searches, latency, tokens and costs."""
    reasons = sorted({record.finish_reason for run in runs for record in run.records})
    ended = [
        [
            run.name,
            str(len(run.records)),
            str(sum(not record.response.strip() for record in run.records)),
            *(str(sum(record.finish_reason == reason for record in run.records)) for reason in reasons),
        ]
        for run in runs
    ]
    blocks: list[Block] = [
        Paragraph("An empty answer is judged like any other: the person got nothing."),
        Table(["Run", "Questions", "Empty answers", *(f"ended: {reason}" for reason in reasons)], ended),
        _spreads(runs),
        *_searches(runs),
    ]
    for title, unit, value in (
        ("Latency", "seconds for a question", lambda record: record.latency_ms / 1000),
        ("Tokens read and written by the policy", "tokens for a question", tokens),
    ):
        blocks.extend(_boxes(runs, title, unit, value))
    if any(cost(run) is not None for run in runs):
        blocks.extend(
            [
                Paragraph(
                    "Cost of the policy's tokens at the manifest's prices; what the judge took is not in it."
                ),
                Table(["Run", "Cost", "For a question"], [_cost(run) for run in runs]),
            ]
        )
    return Section("What the answers took", blocks)


_MEASURES: tuple[tuple[str, Callable[[Record], float], str], ...] = (
    ("Searches", lambda record: record.searches, ".1f"),
    ("Documents read", lambda record: record.documents_read, ".1f"),
    ("Latency, s", lambda record: record.latency_ms / 1000, ".3f"),
    ("Tokens read", lambda record: record.prompt_tokens, ",.0f"),
    ("Tokens written", lambda record: record.policy_tokens, ",.0f"),
    ("Tokens, both", tokens, ",.0f"),
)


def _spreads(runs: Sequence[LoadedRun]) -> Table:
    rows = []
    for run in runs:
        cells = [run.name]
        for _, value, form in _MEASURES:
            found = spread([value(record) for record in run.records])
            cells.append(f"{found.median:{form}}\np90 {found.p90:{form}}" if found else NONE)
        rows.append(cells)
    return Table(["Median per question", *(name for name, _, _ in _MEASURES)], rows, range(len(runs)))


def _searches(runs: Sequence[LoadedRun]) -> list[Chart]:
    drawn = []
    for series, run in enumerate(runs):
        counts = Counter(record.searches for record in run.records)
        most = max(counts.keys(), default=0)
        if most:
            bars = [
                charts.Bar(str(made), counts[made], f"s{series % charts.SERIES}") for made in range(most + 1)
            ]
            title = f"Searches per question, {run.name}"
            drawn.append(Chart(charts.histogram(bars, title, "searches"), f"{title}; bars count questions."))
    return drawn


def _boxes(runs: Sequence[LoadedRun], title: str, unit: str, value: Callable[[Record], float]) -> list[Chart]:
    rows = []
    for series, run in enumerate(runs):
        if found := spread([value(record) for record in run.records]):
            digits = 0 if found.p90 >= 100 else 2
            note = f"median {found.median:,.{digits}f} · p90 {found.p90:,.{digits}f}"
            rows.append(charts.Box(run.name, found, note, series))
    caption = f"{title}. Box: middle half, line: median, whiskers: 10th to 90th percentile."
    return [Chart(charts.boxes(rows, title, unit), caption)] if rows else []


def _cost(run: LoadedRun) -> list[str]:
    total = cost(run)
    if total is None:
        return [run.name, NONE, NONE]
    currency = run.manifest["prices"].get("currency", "")
    each = f"{total / len(run.records):.6f} {currency}".rstrip() if run.records else NONE
    return [run.name, f"{total:.4f} {currency}".rstrip(), each]
