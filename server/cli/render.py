"""Renders steps and passages for a terminal; elsewhere the same words, plain and unwrapped."""

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from agent.driver import Event
from agent.information import notice_line
from agent.trajectory import (
    Answer,
    AnswerDelta,
    Information,
    Invalid,
    Plan,
    Read,
    Search,
    Thought,
    Trajectory,
)
from index.documents import Passage
from server.answers import AnswerRecord
from server.cli.printable import one_line, printable

_SHORT = 140
"""Characters of a passage in a list. Citations are quoted in full."""
_UNWRAPPED = 100_000


def console(*, no_color: bool = False, stderr: bool = False) -> Console:
    """A console with colours only on a terminal, and not with NO_COLOR. Never interprets text as markup."""
    plain = no_color or bool(os.environ.get("NO_COLOR"))
    made = Console(
        stderr=stderr,
        color_system=None if plain else "auto",
        highlight=False,
        markup=False,
        emoji=False,
    )
    if not made.is_terminal:
        made.width = _UNWRAPPED
    return made


def line(*parts: tuple[str, str]) -> Text:
    """(text, style) pairs as one Text, without control characters."""
    return Text.assemble(*((printable(text), style) for text, style in parts))


def hanging(lead: Text, body: Text) -> Table:
    """`body` beside `lead`, indented where it wraps."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(lead, body)
    return grid


def passage_row(number: int, passage: Passage) -> Table:
    """`[n] 2023-04-15 0.71 id  title: text… (3 times)`, shortened."""
    title = f"{passage.title}: " if passage.title else ""
    date = f"{passage.created_at[:10]} " if passage.created_at else ""
    return hanging(
        line(("  ", ""), (f"[{number}]", "bold")),
        line(
            (date, "cyan"),
            (f"{passage.score:.2f} ", "dim"),
            (f"{one_line(passage.document_id)}  ", "dim"),
            (one_line(title + passage.text, _SHORT), ""),
            (f" ({passage.copies} times)" if passage.copies > 1 else "", "dim"),
        ),
    )


class StepPrinter:
    """Prints the steps of one answer as they come and, with colours, the current activity."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._reads: dict[int, Read] = {}
        self._writing = ""
        self._status: Status | None = out.status("thinking") if out.color_system else None

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def show(self, event: Event) -> None:
        match event:
            case Plan(text):
                self._out.print(hanging(line(("plan", "bold cyan")), line((text, ""))))
            case Thought(text):
                self._out.print(hanging(line(("·", "dim")), line((text, "dim italic"))))
            case Search():
                self._out.print(hanging(line(("search", "bold cyan")), line((event.described, "cyan"))))
                self._meanwhile("searching")
            case Information(passages):
                for notice in event.notices:
                    self._out.print(line((f"  {notice_line(notice)}", "dim")))
                self._show_passages(passages)
                self._meanwhile("thinking")
            case AnswerDelta(text):
                self._writing += text
                self._meanwhile(self._writing)
            case Answer():
                self._stop()
                self._show_answer(event)
            case Invalid(reason):
                self._out.print(line((f"invalid turn: {reason}", "red")))

    def footer(self, record: AnswerRecord) -> None:
        """Policy, method, finish reason and costs."""
        trajectory = record.trajectory
        if record.without_profile is not None:
            self._show_other(record.without_profile)
        facts = (
            f"policy {trajectory.policy or 'unnamed'}",
            *([f"method {record.method}"] if record.method != "pr2" else []),
            *_chosen(trajectory),
            trajectory.finish_reason or "not finished",
            _counted(trajectory.searches, "search", "searches"),
            f"{_counted(len(trajectory.documents_read), 'document', 'documents')} read",
            f"{trajectory.total_ms / 1000:.2f} s",
            *([] if record.stored else ["could not be stored"]),
            *([f"remembered as {record.remembered}"] if record.remembered else []),
            *([f"not remembered: {record.not_remembered}"] if record.not_remembered else []),
        )
        self._out.print()
        self._out.print(line((" · ".join(facts), "dim")))

    def _show_other(self, trajectory: Trajectory) -> None:
        self._out.print()
        self._out.print(line(("Without the history:", "bold")))
        answer = trajectory.answer
        words = answer.text if answer else f"no answer: {trajectory.finish_reason}"
        self._out.print(line((words, "dim")))

    def _show_passages(self, passages: Sequence[Read]) -> None:
        if not passages:
            self._out.print(line(("  nothing new", "dim")))
        for read in passages:
            self._reads[read.number] = read
            self._out.print(passage_row(read.number, read.passage))

    def _show_answer(self, answer: Answer) -> None:
        self._out.print()
        self._out.print(line((answer.text, "bold")))
        if answer.citations:
            self._out.print()
        for citation in answer.citations:
            read = self._reads.get(citation.number)
            date = read.passage.created_at if read else None
            about = [one_line(citation.document_id), *([date[:10]] if date else [])]
            where = " · ".join([*about, f"characters {citation.start} to {citation.end}"])
            self._out.print(line((f"  [{citation.number}] ", "bold"), (where, "dim")))
            self._out.print(hanging(line(("     ", "")), line((f"“{citation.quote}”", "green"))))
        if answer.dropped_marks:
            dropped = _counted(answer.dropped_marks, "mark", "marks")
            self._out.print(line((f"  {dropped} without a passage removed", "yellow")))

    def _stop(self) -> None:
        if self._status:
            self._status.stop()

    def _meanwhile(self, text: str) -> None:
        if self._status:
            self._status.update(line((text, "dim")))


def _chosen(trajectory: Trajectory) -> list[str]:
    """The selector's choice with the scores of the pool, and what the other answers took."""
    selection = trajectory.selection
    if selection is None:
        return []
    scores = ", ".join(
        f"{name} {'unfinished' if score is None else f'{score:.2f}'}"
        for name, score in selection.scores.items()
    )
    shown = [f"retriever {selection.retriever} ({scores})"]
    if selection.others:
        others = _counted(selection.others.trajectories, "other answer", "other answers")
        shown.append(f"{others}: {selection.others.policy_tokens} tokens written")
    return shown


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
