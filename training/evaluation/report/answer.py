"""One question of a report: its answers, how they were judged, and the steps that led to them."""

from agent.trajectory import Answer, Information, Invalid, Plan, Read, Search, Step, Thought
from training.evaluation.records import AspectScore
from training.evaluation.report.blocks import Example, Side
from training.evaluation.report.elements import Html, element
from training.evaluation.report.words import plural, score_text, spaced

_COVERED = {
    None: "◌ unjudged",
    0: "○ 0, not covered",
    1: "◐ 1, somewhat covered",
    2: "● 2, very well covered",
}


def example(shown: Example) -> Html:
    """A question to be opened: one answer, or two beside each other."""
    first = shown.sides[0].record
    scores = " : ".join(score_text(side.record) for side in shown.sides)
    summary = element("summary", element("b", scores), element("bdi", first.question))
    about = element("p", f"{spaced(first.category)} · question {first.id}", class_="soft")
    sides = element("div", *map(_side, shown.sides), class_="sides")
    return element("details", summary, about, sides, class_="example")


def _side(side: Side) -> Html:
    record = side.record
    facts = (
        f"{record.finish_reason} · searches: {record.searches} · documents read: {record.documents_read} · "
        f"{record.latency_ms / 1000:.2f} s"
    )
    return element(
        "div",
        element("h3", f"{side.run}: {score_text(record)}"),
        element("p", facts, class_="soft"),
        element("ul", *map(_aspect, record.aspects), class_="aspects"),
        *_steps(side),
        class_="side",
    )


def _aspect(aspect: AspectScore) -> Html:
    mark = _COVERED.get(aspect.score, str(aspect.score))
    return element("li", element("span", mark, class_="kind"), element("bdi", aspect.aspect))


def _steps(side: Side) -> list[Html]:
    trajectory, response = side.trajectory, side.record.response
    told = _said("answer", response) if response.strip() else element("li", "No answer.", class_="invalid")
    if trajectory is None:
        note = element("p", "The run kept no trajectory of this question.", class_="soft")
        return [element("ol", told, class_="steps"), note]
    steps = [_step(step) for step in trajectory.steps]
    # What was judged must be seen, also where the trajectory does not end in it.
    if trajectory.answer is None or trajectory.answer.text != response:
        steps.append(told)
    return [element("ol", *steps, class_="steps")]


def _step(step: Step) -> Html:
    match step:
        case Plan(text):
            return _said("plan", text)
        case Thought(text):
            return _said("thought", text)
        case Search(query):
            return _said("search", query)
        case Information(passages):
            return _passages(passages)
        case Answer(text, citations):
            cited = [element("li", f"[{c.number}] {c.document_id}: “{c.quote}”") for c in citations]
            return _said("answer", text, *([element("ul", *cited, class_="said soft")] if cited else []))
        case Invalid(reason):
            return _said("invalid", reason)


def _passages(passages: tuple[Read, ...]) -> Html:
    if not passages:
        return _said("information", "nothing that was not read already")
    found = [
        element(
            "p",
            element("b", f"[{read.number}] "),
            element("small", _about(read)),
            element("br"),
            element("span", read.passage.text, class_="said"),
        )
        for read in passages
    ]
    count = element("summary", plural(len(passages), "passage"))
    return element("li", element("details", count, *found), class_="information")


def _about(read: Read) -> str:
    passage = read.passage
    date = f"{passage.created_at[:10]} · " if passage.created_at else ""
    title = f" · {passage.title}" if passage.title else ""
    return f"{date}{passage.score:.2f} · {passage.document_id}{title}"


def _said(kind: str, text: str, *more: Html) -> Html:
    said = element("div", text, class_="said", dir="auto")
    return element("li", element("span", kind, class_="kind"), said, *more, class_=kind)
