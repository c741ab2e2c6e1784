"""Splits text into words and reduces them to terms: the stems that rankings compare.

Words meet whatever people type: accents are folded, and scripts that do not separate words are cut into
characters and pairs of them. A term is made by the language of the text it is searched in.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain

from index.text import languages
from index.text.languages import ENGLISH, stopwords

_WORD = re.compile(r"[^\s']+(?:'(?:[stdm]|re|ve|ll)(?![^\s']))?")
"""A word between white space, where an apostrophe joins English endings alone."""
POSSESSIVE = re.compile(r"['’]s$")
_GERSHAYIM = re.compile("(?<=[א-ת])[\"'״׳](?=[א-ת])")
_NASAL = re.compile("[ङञणनम]\u094d(?=[क-भ])")
"""A nasal before a consonant of its class, which Hindi also writes as a dot over the letter before it."""
_SYLLABLES = r"\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
"""Han, kana and Hangul: scripts without spaces whose single characters mean something."""
_LETTERS = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f"
"""Thai, Lao, Burmese and Khmer: scripts without spaces whose characters are letters."""
_RUN = re.compile(rf"([{_SYLLABLES}]+)|([{_LETTERS}]+)|[^{_SYLLABLES}{_LETTERS}]+")
_SPACED = re.compile(rf"[^{_SYLLABLES}{_LETTERS}]*")
_LONGEST = 64
"""Longest word that is composed: normalizing sorts the accents, which is quadratic in the length of a run."""

_FOLDED_LETTERS = {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe",
            "þ": "th", "й": "й", "ة": "ه", "ى": "ي", "ی": "ي", "ک": "ك",
            "\u0901": "", "\u0902": "", "\u0949": "\u093e"}  # fmt: skip
"""Letters without a decomposition or with one that people do not leave out, and spellings that vary."""
_PARTICLES = {"ar": re.compile("(?:[وبكف]?ال|لل)(?=.{3})"), "he": re.compile("[ובהלכמש](?=.{3})")}
"""Articles and prepositions that are written with the word that follows."""
_DIGRAPHS = {"da": (("aa", "a"), ("oe", "o")), "no": (("aa", "a"), ("oe", "o"))}
"""Spellings of å and ø without them. Snowball knows those of German."""
_GREEK_ENDINGS = "αεηιουωςσν"

FUNCTION_WORDS = frozenset(
    """a about above after again all also am an and any are as at be because been before being below
    between both but by can could did do does doing don down during each few for from further had has
    have having he her here hers herself him himself his how i if in into is it its itself just let me
    might more most must my myself no nor not now of off on once only or other our ours ourselves out
    over own same shall she should so some such than that the their theirs them themselves then there
    these they this those through to too under until up very was we were what when where which while who
    whom whose why will with would you your yours yourself yourselves i'm i've i'd i'll you're you've
    it's he's she's we're they're don't doesn't didn't isn't wasn't aren't can't won't what's that's
    there's let's""".split()
)
"""English words without a topic. They are dropped from questions, never from documents."""


class _Table(dict[int, str]):
    """Translates characters. Results are kept for as many as people write with."""

    def __init__(self, of: Callable[[str], str]) -> None:
        super().__init__()
        self._of = of

    def __missing__(self, code: int) -> str:
        value = self._of(chr(code))
        if len(self) < 1 << 14:
            self[code] = value
        return value


def words(text: str) -> list[str]:
    """Return the words of `text` in lower case, without accents and possessive endings.

    Of scripts without spaces, the pairs of characters stand for the words and, where a character means
    something by itself, each character.
    """
    accented = split(text)
    return accented if text.isascii() else list(map(_folded, accented))


def function_words(language: str) -> frozenset[str]:
    """Return words without a topic, as `words` gives them; empty if none are known of the language."""
    return FUNCTION_WORDS if language == ENGLISH else _without_accents(language)


def terms(text: str, language: str = ENGLISH) -> list[str]:
    """Return all terms of `text` in order: its words, stemmed as those of a language."""
    return list(chain.from_iterable(forms(split(text), language)))


def forms(words: Sequence[str], language: str = ENGLISH) -> list[list[str]]:
    """Return the terms of each word, which comes from `split`, in a language.

    In languages other than English a word may have several terms: itself, as Snowball takes some words for
    inflected that are not, and its stems with and without accents, which people leave out when they type.
    """
    plain = [_folded(word) for word in words]
    if language == ENGLISH:
        return [[stem] for stem in languages.stem(plain, language)]
    light = [_light(word, language) for word in plain]
    stems = [_folded(word) for word in languages.stem(words, language)]
    each = zip(plain, light, languages.stem(light, language), stems, strict=True)
    return [list(dict.fromkeys(several)) for several in each]


def content_terms(text: str, language: str = ENGLISH) -> list[str]:
    """Return the distinct terms that carry the topic of `text`, in order; all terms if none does."""
    dropped = function_words(language)
    said = split(text)
    kept = [word for word in said if _folded(word) not in dropped]
    return list(dict.fromkeys(chain.from_iterable(forms(kept or said, language))))


def detect(text: str, *, short: bool = False) -> str | None:
    """Return the language (ISO 639-1) that most of `text` is written in, None if too little tells.

    With `short`, less is enough: for one question, whose language nothing else tells.
    """
    return languages.detect(text, _tokens, short=short)


def split(text: str) -> list[str]:
    """Return the words of `text` in lower case, with accents; pairs of characters in scripts without spaces.

    No word has white space in it. What `split` returns is stored: see index.ranking.reading.VERSION.
    """
    tokens = _tokens(text)
    if text.isascii():
        return tokens
    found: list[str] = []
    for word in tokens:
        if word.isascii() or _SPACED.fullmatch(word):
            found.append(word)
        else:
            for match in filter(_has_letters, _RUN.finditer(word)):
                run, unspaced = match.group(), match.lastindex
                found += _grams(run, single=unspaced == 1) if unspaced else [run]
    return found


def _tokens(text: str) -> list[str]:
    """Words between spaces and marks of punctuation, in lower case, composed, without possessive endings."""
    if text.isascii():
        return [POSSESSIVE.sub("", word) for word in _WORD.findall(text.translate(_WHOLE))]
    text = _GERSHAYIM.sub("", text).translate(_WHOLE)
    if "\u094d" in text:
        text = _NASAL.sub("\u0902", text)
    found = (POSSESSIVE.sub("", word) for word in _WORD.findall(text))
    return [word if word.isascii() else _composed(word) for word in found if _is_word(word)]


def _is_word(word: str) -> bool:
    """Whether a word has anything but marks."""
    return word.isascii() or any(map(str.isalnum, word))


def _has_letters(match: re.Match[str]) -> bool:
    return _is_word(match.group())


def _composed(word: str) -> str:
    return unicodedata.normalize("NFC", word) if len(word) <= _LONGEST else word


def _grams(run: str, *, single: bool) -> list[str]:
    if len(run) == 1:
        return [run]
    pairs = [run[i : i + 2] for i in range(len(run) - 1)]
    return [*run, *pairs] if single else pairs


def _whole(character: str) -> str:
    """Return a character as words hold it: in lower case, compatible forms as one, else a space."""
    if character in "'’ʼ＇":
        return "'"
    if character == "İ":
        return "i"
    if unicodedata.category(character) == "Cf" or character == "ـ":
        return ""
    parts = unicodedata.normalize("NFKC", character).casefold()
    return "".join(part if unicodedata.category(part)[0] in "LNM" else " " for part in parts)


def _base(character: str) -> str:
    """Return a letter without its accents."""
    if character in _FOLDED_LETTERS:
        return _FOLDED_LETTERS[character]
    parts = unicodedata.normalize("NFKD", character)
    kept = "".join(_FOLDED_LETTERS.get(part, part) for part in parts if not _is_accent(part))
    return unicodedata.normalize("NFC", kept)


def _is_accent(mark: str) -> bool:
    """Whether a mark is an accent, a vowel point or a nukta; not a sign that spells a vowel or a tone.

    These are the combining classes (Unicode, section 4.3) of marks that are not bound to one script, of
    Hebrew's and Arabic's points, and of the nukta.
    """
    kind = unicodedata.combining(mark)
    return kind in {1, 7} or 10 <= kind <= 36 or kind >= 200


_WHOLE, _FOLDED = _Table(_whole), _Table(_base)


def _folded(word: str) -> str:
    return word if word.isascii() else word.translate(_FOLDED)


@cache
def _without_accents(language: str) -> frozenset[str]:
    return frozenset(map(_folded, stopwords(language)))


def _light(word: str, language: str) -> str:
    """Return a word in its common spelling, without the particles and endings that Snowball leaves."""
    if language in _PARTICLES:
        particle = _PARTICLES[language].match(word)
        return word[particle.end() :] if particle else word
    if language == "el":
        return word.rstrip(_GREEK_ENDINGS) if len(word) > 3 else word
    for digraph, letter in _DIGRAPHS.get(language, ()):
        word = word.replace(digraph, letter)
    return word
