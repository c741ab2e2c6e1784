"""Splits documents that exceed an encoder's window into passages, without dropping anything."""

from collections.abc import Callable, Sequence

from index.text.sentences import spans

PASSAGE_TOKENS = 128
"""Longest passage. Half of MiniLM's window: the vector of a shorter text is more specific, and neighbours
give a passage its context back (measured in benchmarks/locomo.py)."""
CHARACTERS = 16
"""Characters that count for a token at least, several times those of prose: tokenizers take a word of any
length for one token that they do not know."""
CountTokens = Callable[[Sequence[str]], Sequence[int]]


def bounded(count: CountTokens) -> CountTokens:
    """Count tokens as `count` does, but never fewer than one for CHARACTERS characters."""

    def counted(texts: Sequence[str]) -> list[int]:
        return [
            max(found, -(-len(text) // CHARACTERS)) for text, found in zip(texts, count(texts), strict=True)
        ]

    return counted


def split(text: str, window: int, count: CountTokens) -> list[tuple[int, int]]:
    """Return (start, end) of consecutive passages of `text`, each of at most `window` tokens (see `bounded`).

    Cuts between sentences if possible, else between words, else anywhere. The passages cover every
    character of `text` that is not white space. Raises ValueError if `window` is below 1.
    """
    if window < 1:
        raise ValueError(f"a window of {window} tokens leaves no room for text")
    count = bounded(count)
    total = count([text])[0]
    if total <= window:
        return [(0, len(text))]
    # Passages of about equal length: a short remainder would be hard to find.
    target = total / -(-total // window)
    pieces: list[tuple[int, int]] = []
    for span in spans(text):
        pieces += _fit(text, span, window, count)
    costs = count([text[start:end] for start, end in pieces])
    passages: list[tuple[int, int]] = []
    used = 0
    for (start, end), cost in zip(pieces, costs, strict=True):
        # Parts of one word are not joined again: together they may have more tokens than apart.
        apart = bool(passages) and passages[-1][1] < start
        short = bool(passages) and end - passages[-1][0] <= window * CHARACTERS
        if apart and short and used < target and used + cost <= window:
            passages[-1] = (passages[-1][0], end)
            used += cost
        else:
            passages.append((start, end))
            used = cost
    return passages


def _fit(text: str, span: tuple[int, int], window: int, count: CountTokens) -> list[tuple[int, int]]:
    """Halve a span until each part fits."""
    start, end = span
    if end - start <= 1 or count([text[start:end]])[0] <= window:
        return [span]
    middle = (start + end) // 2
    space = text.rfind(" ", start + 1, middle)
    cut = space if space > start + (end - start) // 4 else middle
    left, right = (start, cut), (cut + (1 if text[cut] == " " else 0), end)
    return _fit(text, left, window, count) + _fit(text, right, window, count)
