"""Detects languages by their scripts and function words, and gives each its stemmer and function words.

Function words need no model, which would take megabytes and seconds to load. They are reliable for a source
of some sentences, which is all that they are asked here.
"""

import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

import Stemmer

ENGLISH = "en"

STEMMERS: Mapping[str, str] = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek",
    "en": "english", "eo": "esperanto", "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian",
    "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian", "hy": "armenian",
    "id": "indonesian", "it": "italian", "lt": "lithuanian", "nl": "dutch", "no": "norwegian",
    "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sv": "swedish", "tr": "turkish",
}  # fmt: skip
"""Snowball's stemmers by ISO 639-1 code."""

_BY_SCRIPT: Mapping[str, tuple[str, ...]] = {
    "LATIN": (
        *("ca", "cs", "da", "de", "en", "eo", "es", "et", "eu", "fi", "fr", "ga", "hr", "hu", "id", "it"),
        *("lt", "lv", "nl", "no", "pl", "pt", "ro", "sk", "sl", "sv", "tr", "vi"),
    ),
    "CYRILLIC": ("ru", "bg", "uk"),
    "ARABIC": ("ar", "fa", "ur"),
    "DEVANAGARI": ("hi", "mr"),
    "GREEK": ("el",),
    "HEBREW": ("he",),
    "ARMENIAN": ("hy",),
    "HANGUL": ("ko",),
    "HIRAGANA": ("ja",),
    "KATAKANA": ("ja",),
    "CJK": ("zh",),
    "THAI": ("th",),
    "LAO": ("lo",),
    "KHMER": ("km",),
    "MYANMAR": ("my",),
}
"""Languages to choose from, by script: the first word of a letter's Unicode name. Where function words do not
decide, a script other than Latin stands for its first language, the one with the most writers."""

_WEIGHTS = {"HANGUL": 2, "HIRAGANA": 4, "KATAKANA": 4, "CJK": 2}
"""Letters that a letter of a script counts for: one of these says more, and Han with kana is Japanese."""
SAMPLE = 20_000
"""Characters of a text that are looked at."""
_EVIDENCE, _MARGIN = 3.0, 1.05
"""Function words that a language needs, and how many times those of the next one."""
_LITTLE_EVIDENCE, _WIDE_MARGIN = 0.5, 1.2
"""The same for one short text, such as a question."""
_STEMMER_OF = threading.local()


def detect(text: str, words: Callable[[str], Sequence[str]], *, short: bool = False) -> str | None:
    """Return the ISO 639-1 code of the language that most of `text` is written in, None if too little tells.

    `words` splits a text into words in lower case with their accents. The script decides where it can; else
    the function words do, each divided among the languages of the script that have it.
    """
    sample = text[:SAMPLE]
    scripts: Counter[str] = Counter()
    for character, count in Counter(sample).items():
        if character.isalpha():
            script = _script(character)
            scripts[script] += count * _WEIGHTS.get(script, 1)
    known = [(count, script) for script, count in scripts.items() if script in _BY_SCRIPT]
    if not known:
        return None
    languages = _BY_SCRIPT[max(known)[1]]
    if len(languages) == 1:
        return languages[0]
    if short:
        # One name may be a function word of some language.
        first, *others = sample.split()
        sample = " ".join([first, *(word for word in others if not word[0].isupper())])
    scores = dict.fromkeys(languages, 0.0)
    for word, count in Counter(words(sample)).items():
        having = [language for language in _having(word) if language in scores]
        for language in having:
            scores[language] += count / len(having)
    best, second = sorted(scores, key=lambda language: -scores[language])[:2]
    evidence, margin = (_LITTLE_EVIDENCE, _WIDE_MARGIN) if short else (_EVIDENCE, _MARGIN)
    if scores[best] >= evidence and scores[best] >= margin * scores[second]:
        return best
    return None if languages is _BY_SCRIPT["LATIN"] else languages[0]


def stem(words: Sequence[str], language: str) -> list[str]:
    """Return Snowball's stems; the words themselves if there is no stemmer for the language."""
    name = STEMMERS.get(language)
    if name is None:
        return list(words)
    stemmer = getattr(_STEMMER_OF, name, None)
    if stemmer is None:
        # A stemmer has state, so each thread has its own.
        stemmer = Stemmer.Stemmer(name)
        setattr(_STEMMER_OF, name, stemmer)
    return list(stemmer.stemWords(list(words)))


@cache
def stopwords(language: str) -> frozenset[str]:
    """Return the function words of a language in lower case; empty if none are known."""
    return frozenset(word for word in _lists().get(language, ()) if " " not in word)


def _having(word: str) -> Iterable[str]:
    return _languages().get(word, ())


@cache
def _languages() -> dict[str, tuple[str, ...]]:
    """Languages by function word."""
    found: dict[str, list[str]] = {}
    for language in {language for languages in _BY_SCRIPT.values() for language in languages}:
        for word in stopwords(language):
            if len(word) > 1 and not word.isdecimal():
                found.setdefault(word, []).append(language)
    return {word: tuple(languages) for word, languages in found.items()}


@cache
def _lists() -> dict[str, list[str]]:
    import stopwordsiso

    return {
        language: [unicodedata.normalize("NFC", word.casefold()) for word in stopwordsiso.stopwords(language)]
        for language in stopwordsiso.langs()
    }


def _script(character: str) -> str:
    return unicodedata.name(character, "").partition(" ")[0]
