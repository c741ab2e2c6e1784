"""Published records in small: one valid input and entry for each task."""

from typing import Any

INPUTS = {
    1: 'For an author who has written the paper with the title "Wild Geese", which reference is related? '
    'Just answer with [1] or [2] without explanation. [1]: "Geese in winter" [2]: "Graph colouring"',
    2: "Which tag does this movie relate to among the following tags? Just answer with the tag name without "
    "further explanation. tags: [sci-fi, comedy] description: A robot learns to dance.",
    3: "What is the score of the following review on a scale of 1 to 5? just answer with 1, 2, 3, 4, or 5 "
    "without further explanation. review: The kettle leaks.",
    4: "Generate a headline for the following article: The bridge opens in May.",
    5: "Generate a title for the following abstract of a paper: We count geese.",
    6: "Generate a subject for the following email: The meeting moves to Friday.",
    7: "Paraphrase the following tweet without any explanation before or after it: It is raining again.",
}
OUTPUTS = {1: "[2]", 2: "comedy", 3: "2", 4: "Bridge opens", 5: "Counting", 6: "Meeting moved", 7: "rain!"}


def entry(number: int, id_: str, text: str, label: str = "", **more: Any) -> dict[str, Any]:
    """A raw entry whose quoted text is `text`."""
    fields = {
        1: {"title": text, "abstract": label},
        2: {"description": text, "tag": label},
        3: {"text": text, "score": label or "3"},
        4: {"text": text, "title": label},
        5: {"abstract": text, "title": label},
        6: {"text": text, "title": label},
        7: {"text": text},
    }
    return {"id": id_, **fields[number], **more}


def record(number: int, id_: str = "q", **more: Any) -> dict[str, Any]:
    """A raw question with two entries."""
    profile = [entry(number, "a", "first text", "one"), entry(number, "b", "second text", "two")]
    return {"id": id_, "input": INPUTS[number], "profile": profile, **more}
