"""The output items of a response, as they grow, and the events that tell of it."""

from typing import Any

from server.http.sse import encode
from server.openai.asking import Finished

Json = dict[str, Any]


class Output:
    """Grows by thoughts and text; every step adds its events, in order.

    A reasoning item holds one part for each thought; the answer is one message with one part. Thoughts that
    come after the answer has begun are an item of their own.
    """

    def __init__(self, answer_id: str) -> None:
        self.items: list[Json] = []
        """The items so far, as they are sent with the whole response."""
        self._id = answer_id
        self._events: list[bytes] = []
        self._sent = 0
        self._reasoning: int | None = None
        """Index of the reasoning item that still grows."""
        self._answer: tuple[int, Json] | None = None
        """Index of the message, and its part."""

    def take_events(self) -> list[bytes]:
        """The events since the last call."""
        events, self._events = self._events, []
        return events

    def add_event(self, kind: str, **fields: Any) -> None:
        """Add an event, with the next number."""
        self._events.append(encode(kind, {"type": kind, "sequence_number": self._sent, **fields}))
        self._sent += 1

    def think(self, text: str) -> None:
        """Add a thought, which is complete."""
        if self._reasoning is None:
            self._reasoning = self._add("rs", {"type": "reasoning", "summary": []})
        summary = self.items[self._reasoning]["summary"]
        place = {**self._place(self._reasoning), "summary_index": len(summary)}
        part = {"type": "summary_text", "text": text}
        kind = "response.reasoning_summary"
        self.add_event(f"{kind}_part.added", **place, part={**part, "text": ""})
        self.add_event(f"{kind}_text.delta", **place, delta=text)
        self.add_event(f"{kind}_text.done", **place, text=text)
        self.add_event(f"{kind}_part.done", **place, part=part)
        summary.append(part)

    def write(self, text: str) -> None:
        """Add text to the answer."""
        index, part = self._answer or self._begin_answer()
        part["text"] += text
        place = {**self._place(index), "content_index": 0}
        self.add_event("response.output_text.delta", **place, delta=text, logprobs=[])

    def finish(self, finished: Finished) -> None:
        """End the answer with its citations."""
        index, part = self._answer or self._begin_answer()
        self._end_reasoning()
        place = {**self._place(index), "content_index": 0}
        for number, citation in enumerate(finished.citations):
            annotation = {"type": "url_citation", **citation}
            part["annotations"].append(annotation)
            kind = "response.output_text.annotation.added"
            self.add_event(kind, **place, annotation_index=number, annotation=annotation)
        self.add_event("response.output_text.done", **place, text=part["text"], logprobs=[])
        self.add_event("response.content_part.done", **place, part=part)
        self._end(index, "completed" if finished.end == "stop" else "incomplete")

    def break_off(self) -> None:
        """Mark the items that were being written as incomplete."""
        for item in self.items:
            if item["status"] == "in_progress":
                item["status"] = "incomplete"

    def _begin_answer(self) -> tuple[int, Json]:
        self._end_reasoning()
        index = self._add("msg", {"type": "message", "role": "assistant", "content": []})
        part: Json = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        self.add_event("response.content_part.added", **self._place(index), content_index=0, part=part)
        self.items[index]["content"].append(part)
        self._answer = index, part
        return self._answer

    def _end_reasoning(self) -> None:
        if self._reasoning is not None:
            self._end(self._reasoning, "completed")
            self._reasoning = None

    def _add(self, prefix: str, item: Json) -> int:
        index = len(self.items)
        self.items.append({"id": f"{prefix}_{self._id}_{index}", "status": "in_progress", **item})
        self.add_event("response.output_item.added", output_index=index, item=self.items[index])
        return index

    def _end(self, index: int, status: str) -> None:
        self.items[index]["status"] = status
        self.add_event("response.output_item.done", output_index=index, item=self.items[index])

    def _place(self, index: int) -> Json:
        return {"item_id": self.items[index]["id"], "output_index": index}
