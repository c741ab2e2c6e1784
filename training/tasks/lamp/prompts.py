"""Builds the prompts of LaMP: a person's entries, then the input, within a budget of tokens.

Rules of the budget, in this order:

1. The input is kept whole. Only if it leaves no room for a single entry, its end is cut, down to INPUT_SHARE
   of the budget; the instruction before its marker never is, nor anything of task 1's input.
2. As many entries as fit are kept, best first. If not even one fits, that is an error.
3. The free texts of the entries share the tokens that are left; what a short one does not need goes to the
   others. Titles, tags and ratings are never cut.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.engines.text import Tokens
from training.errors import TrainingError
from training.tasks.lamp.data import Entry
from training.tasks.lamp.inputs import TITLE, divided, query_of
from training.tasks.lamp.schemas import SCHEMAS

TOKENS = 511
"""The published limit of FlanT5's input, 512 (arXiv 2404.05970), less its end token."""
INPUT_SHARE = 0.6
"""The share of the budget that an input may have at most if entries need room, as in LaMP's code."""
LEAST = 8
"""Tokens of its free text, or all of them if it has fewer, without which an entry says too little."""


class OverBudget(TrainingError, ValueError):
    """A prompt does not fit; the message says by how much."""


@dataclass(frozen=True)
class Budget:
    """The most tokens of a prompt, and the tokenizer that counts them."""

    tokenizer: Tokens
    tokens: int = TOKENS


@dataclass(frozen=True)
class Prompt:
    text: str
    entries: int
    """How many of the given entries it holds: the first ones."""
    input_cut: int
    """Tokens that the end of the input lost."""


def prompt_of(number: int, input_: str, entries: Sequence[Entry], budget: Budget) -> str:
    """The text of `build_prompt`."""
    return build_prompt(number, input_, entries, budget).text


def build_prompt(number: int, input_: str, entries: Sequence[Entry], budget: Budget) -> Prompt:
    """Join the entries, best first, with the input. Without entries, the prompt is the input.

    It counts tokens: call it outside of the event loop. Raises OverBudget, EngineError, and InvalidInput for
    an input of another task.
    """
    query_of(number, input_)
    count, cut = budget.tokenizer.count, budget.tokenizer.cut
    schema = SCHEMAS[number]
    bodies = [entry.fields[schema.body] for entry in entries]
    labels = ["" if schema.label is None else entry.fields[schema.label] for entry in entries]

    def joined(asked: str, texts: Sequence[str]) -> str:
        return _joined(number, asked, texts, labels)

    def fits(asked: str, texts: Sequence[str]) -> bool:
        return count(joined(asked, texts)) <= budget.tokens

    if fits(input_, bodies):
        return Prompt(joined(input_, bodies), len(bodies), 0)
    least = [cut(body, LEAST) for body in bodies]
    asked = input_
    if not fits(asked, least[:1]):
        most = int(INPUT_SHARE * budget.tokens) if entries else budget.tokens
        asked = _shortened(number, input_, most, budget)
        if not fits(asked, least[:1]):
            raise OverBudget(
                f"the first entry's fixed words do not fit beside an input of {count(asked)} tokens into "
                f"{budget.tokens}: raise the limit"
            )
    kept = next((n for n in range(len(entries), 0, -1) if fits(asked, least[:n])), 0)
    texts = _shared(bodies[:kept], lambda texts: budget.tokens - count(joined(asked, texts)), count, cut)
    return Prompt(joined(asked, texts), kept, count(input_) - count(asked))


def _joined(number: int, asked: str, bodies: Sequence[str], labels: Sequence[str]) -> str:
    if not bodies:
        return asked
    schema = SCHEMAS[number]
    entries = ", and ".join(
        schema.before + body + schema.after.replace("{}", label)
        for body, label in zip(bodies, labels, strict=False)
    )
    if number == 1:
        before, title, after = asked.partition(TITLE)
        return f"{before}{title}, and {entries}{after}"
    return entries + schema.joint + asked


def _shared(
    bodies: Sequence[str],
    room_for: Callable[[Sequence[str]], int],
    count: Callable[[str], int],
    cut: Callable[[str, int], str],
) -> list[str]:
    """Cut the bodies so that they fit. `room_for` gives the tokens that a prompt with these bodies leaves."""
    sizes = [count(body) for body in bodies]
    room = room_for([""] * len(bodies))
    while True:
        texts = [
            body if share == size else cut(body, share)
            for body, size, share in zip(bodies, sizes, _shares(sizes, room), strict=True)
        ]
        # Tokens may differ where texts meet, so the whole is counted, too.
        excess = -room_for(texts)
        if excess <= 0:
            return texts
        if room <= 0:
            raise OverBudget(f"{len(bodies)} entries without their texts are {excess} tokens too many")
        room -= excess


def _shares(sizes: Sequence[int], room: int) -> list[int]:
    """Divide the room equally, where nobody gets more than their size (max-min fairness)."""
    shares, left = [0] * len(sizes), max(room, 0)
    for served, index in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        shares[index] = min(sizes[index], left // (len(sizes) - served))
        left -= shares[index]
    return shares


def _shortened(number: int, input_: str, most: int, budget: Budget) -> str:
    """The input with as much of the end of its own text cut as makes it `most` tokens long."""
    count, cut = budget.tokenizer.count, budget.tokenizer.cut
    if (size := count(input_)) <= most:
        return input_
    if number == 1:
        raise OverBudget(f"an input of task 1 is never cut, and this one has {size} tokens: raise the limit")
    instruction, own = divided(number, input_)
    room = most - count(instruction)
    while room > 0:
        short = instruction + cut(own, room)
        if (excess := count(short) - most) <= 0:
            return short
        room -= excess
    raise OverBudget(f"the instruction has {count(instruction)} tokens, and the input may have {most}")
