"""The words by which a question says what it wants: the newest or the oldest, a date, a number, a name.

A language without a table has no cues, and its questions are answered by their topic alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from index.text.words import words

Order = Literal["newest", "oldest"]

CALENDAR = frozenset(
    "january february march april may june july august september october november december monday "
    "tuesday wednesday thursday friday saturday sunday today tomorrow yesterday".split()
)
NAME = re.compile(r"(?<![\w'’])[^\W\d_a-z][\w'’-]+(?: [^\W\d_a-z][\w'’-]*)*")
_NUMBER = re.compile(r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|once|twice)\b")
_WHEN = re.compile(
    rf"\d|\b(?:{'|'.join(sorted(CALENDAR))}|last|next|ago|week|month|year|morning|evening)\b", re.IGNORECASE
)
_GERMAN_NUMBER = re.compile(
    r"\d|\b(?:zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|elf|zwölf|zwanzig|dreißig|hundert|einmal|zweimal)"
)
_GERMAN_WHEN = re.compile(
    r"\d|\b(?:Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember|heute|gestern"
    r"|morgens?|abends?|\w{2,8}tags?|Woche|Monat|Jahr)\b"
)
_CHINESE_NUMBER = re.compile(r"[\d一二三四五六七八九十百千万两半]")
_CHINESE_WHEN = re.compile(
    r"[\d一二三四五六七八九十][年月号日点]|星期|周[一二三四五六日末]|今天|昨天|明天|上午|下午"
)
_HINDI_NUMBER = re.compile(
    r"\d|(?:^|\s)(?:एक|दो|तीन|चार|पाँच|पांच|छह|सात|आठ|नौ|दस|बारह|बीस|तीस|सौ|हज़ार|हजार|लाख)(?:\s|$)"
)
_HINDI_WHEN = re.compile(
    r"\d|जनवरी|फ़रवरी|फरवरी|मार्च|अप्रैल|मई|जून|जुलाई|अगस्त|सितंबर|अक्टूबर|नवंबर|दिसंबर|आज|कल|बजे|सोमवार|मंगलवार"
    r"|बुधवार|गुरुवार|शुक्रवार|शनिवार|रविवार|हफ़्ते|महीने|साल"
)
_FIRST_OF_ALL = re.compile(
    r"\bfirst\b(?! (?:name|aid|class|floor|place|prize|half|language|lady|person|and|or|of|few|two|week)\b)"
)
_ERSTE = re.compile(r"\berste[nrsm]?\b(?! (?:hilfe|klasse|etage|hälfte|woche)\b)")


@dataclass(frozen=True)
class Cues:
    """The cues of a language, as phrases that a question has."""

    newest: tuple[str, ...]
    oldest: tuple[str, ...]
    past: tuple[str, ...]
    """Words of questions about what happened, which nothing later replaces."""
    states: tuple[str, ...]
    """Words that tie a thing to its present value, which a later one replaces."""
    updates: tuple[str, ...]
    """Words of an update that are no part of the value."""
    kinds: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...]
    """Phrases that ask for something, and what it looks like."""
    first: re.Pattern[str] | None = None
    """A further cue for the oldest."""
    asking: tuple[str, ...] = ()
    """Further words of questions without a topic, where the function words lack them."""
    opening: int | None = None
    """The number of words at the beginning of a question that may ask for a kind; None for all."""


_CUES: Mapping[str, Cues] = {
    "en": Cues(
        newest=(
            *("now", "nowadays", "these days", "still", "latest", "newest", "most recent", "current"),
            *("currently", "at present", "at the moment", "any more", "anymore", "recently", "lately"),
            *("last time", "did i last"),
        ),
        oldest=("originally", "initially", "at first", "earliest", "used to"),
        past=("did", "was", "were", "had", "used to"),
        states=tuple(
            "is are lives live living moved work works working switched changed drive drives use uses prefer "
            "prefers called named".split()
        ),
        updates=("now", "new", "current", "currently", "since", "today", "again"),
        kinds=((("when",), _WHEN), (("who", "where"), NAME), (("how",), _NUMBER)),
        first=_FIRST_OF_ALL,
        opening=2,
    ),
    "de": Cues(
        newest=(
            *("jetzt", "immer noch", "noch immer", "derzeit", "momentan", "zurzeit", "zur zeit", "aktuell"),
            *("aktuelle", "aktueller", "aktuelles", "aktuellen", "neueste", "neuester", "neuestes"),
            *("neuesten", "zuletzt", "mittlerweile", "inzwischen", "heutzutage"),
        ),
        oldest=("zuerst", "ursprünglich", "anfangs", "erstmals", "zum ersten mal", "am anfang", "früher"),
        past=("war", "waren", "hatte", "hatten", "wurde", "wurden", "früher"),
        states=tuple(
            "ist sind bin heißt heißen wohne wohnt wohnen lebe lebt leben arbeite arbeitet umgezogen gezogen "
            "gewechselt fahre fährt nutze nutzt".split()
        ),
        updates=tuple("jetzt neu neue neuer neues neuen aktuell nun seit heute wieder".split()),
        kinds=((("wann",), _GERMAN_WHEN), (("wie viel", "wie viele", "wie lange"), _GERMAN_NUMBER)),
        first=_ERSTE,
    ),
    "hi": Cues(
        newest=("अब", "अभी", "आजकल", "फ़िलहाल", "वर्तमान", "मौजूदा", "नवीनतम", "ताज़ा", "आख़िरी बार"),
        oldest=("पहली बार", "सबसे पहले", "शुरू में", "शुरुआत में", "मूल रूप से", "सबसे पहला", "सबसे पहली"),
        past=("था", "थी", "थे"),
        states=tuple("है हैं हूँ हूं हो रहता रहती रहते करता करती करते".split()),
        updates=("अब", "नया", "नई", "नए", "आज", "फिर"),
        kinds=((("कब",), _HINDI_WHEN), (("कितना", "कितनी", "कितने"), _HINDI_NUMBER)),
    ),
    "zh": Cues(
        newest=tuple("现在 目前 如今 当前 眼下 最新 最近一次 仍然 依然 还在 是否还".split()),
        oldest=("最初", "起初", "原来", "原本", "第一次", "首次", "最早", "一开始", "最先"),
        past=("过", "了"),
        states=("是", "叫", "姓", "住", "搬", "换"),
        updates=("现", "在", "现在", "新", "今", "天", "今天", "又"),
        asking=tuple("我你他她哪里谁什么怎几多少"),
        kinds=(
            (("什么时候", "哪天", "哪一天", "几号", "几点", "何时", "哪年"), _CHINESE_WHEN),
            (("多少", "几", "多久", "多长"), _CHINESE_NUMBER),
        ),
    ),
}  # fmt: skip
_UNSPACED = "zh"


def order(question: str, language: str) -> Order | None:
    """Return which of several answers a question asks for; None if it does not say."""
    cues = _CUES.get(language)
    if cues is None:
        return None
    if _has(question, cues.newest, language):
        return "newest"
    first = cues.first and cues.first.search(question.lower())
    return "oldest" if first or _has(question, cues.oldest, language) else None


def kind(question: str, language: str) -> re.Pattern[str] | None:
    """Return what the answer to a question looks like: a name, date or number; None if it does not say."""
    cues = _CUES.get(language)
    if cues is None:
        return None
    opening = " ".join(question.split()[: cues.opening])
    return next((looks for asking, looks in cues.kinds if _has(opening, asking, language)), None)


def states(language: str) -> frozenset[str]:
    """Return words that tie a thing to its present value, folded as `words` folds them."""
    return _folded(_CUES[language].states) if language in _CUES else frozenset()


def updates(language: str) -> frozenset[str]:
    """Return words of an update that are no part of the value, folded as `words` folds them."""
    return _folded(_CUES[language].updates) if language in _CUES else frozenset()


def ordering(language: str) -> str:
    """Return the words of a language that only ask, such as those for the newest or the oldest."""
    cues = _CUES.get(language)
    return " ".join((*cues.newest, *cues.oldest, *cues.asking)) if cues else ""


def is_past(question: str, language: str) -> bool:
    """Whether a question asks for what happened, which nothing later replaces."""
    cues = _CUES.get(language)
    return cues is not None and _has(question, cues.past, language)


def _has(question: str, phrases: tuple[str, ...], language: str) -> bool:
    if language == _UNSPACED:
        return any(phrase in question for phrase in phrases)
    text = f" {' '.join(words(question))} "
    return any(f" {phrase} " in text for phrase in _folded(phrases))


@cache
def _folded(phrases: tuple[str, ...]) -> frozenset[str]:
    return frozenset(" ".join(words(phrase)) for phrase in phrases)
