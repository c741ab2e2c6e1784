"""Tells whether an encoder knows a language, from how its tokenizer cuts the letters of that language.

A tokenizer has the words, or parts of words, of the languages that its model learned from, and spells others
letter by letter: MiniLM's takes 4.5 letters of English for one token and 2.5 of German, but exactly one of
Chinese, Japanese, Russian, Arabic, Hebrew or Greek. Similarity is then noise: passages are alike in their
length and punctuation. Neither the spread of similarities nor the agreement of similar passages about rare
words shows that, since dated sessions in English have less of both than Chinese messages.
"""

from collections.abc import Iterable

from index.text.passages import CountTokens

SPELLED = 1.15
"""Letters to a token below which a language is spelled. The closest on either side are Greek by MiniLM (1.10)
and Hindi by multilingual E5 (1.19)."""
UNREAD = 0.1
"""Weight of similarity in a language that is spelled. Not 0: a search by meaning alone still has an order."""
_LETTERS = 4_000
"""Letters that are looked at."""


def familiarity(texts: Iterable[str], count: CountTokens) -> float:
    """Return the weight of similarity among texts of one language: 1, or UNREAD if they are spelled.

    `count` is the encoder's. Texts without a letter are taken for familiar.
    """
    letters = _letters(texts)
    tokens = sum(count(letters)) if letters else 0
    return UNREAD if sum(map(len, letters)) < SPELLED * tokens else 1.0


def _letters(texts: Iterable[str]) -> list[str]:
    """Return the runs of letters at the beginning of `texts`, without English words among others."""
    found: list[str] = []
    total = 0
    for text in texts:
        runs = "".join(letter if letter.isalpha() else " " for letter in text).split()
        found += runs
        total += sum(map(len, runs))
        if total >= _LETTERS:
            break
    others = [run for run in found if not run.isascii()]
    return others if 2 * sum(map(len, others)) > total else found
