"""A tiny model that looks into the history in about half of its rollouts, and answers.

Both ways keep to the format, so that only the scores of answers can be learned from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from agent.episode import Episode
from agent.methods import METHODS
from agent.trajectory import Limits
from index.documents import Passage
from tests.engines import model as by_heart
from tests.golden.cases import CASES

TODAY = CASES[0].today

LIMITS = Limits(max_searches=1, top_k=1, max_tokens=128)
CONTEXT = 1_024
DOCUMENTS = {"t": "I drink green tea.", "r": "The vet says that Rex needs walks.", "a": "Anna eats no nuts."}
_LAZY = "<think>No.</think><answer>I cannot tell.</answer>"
_STEPS, _RATE = 150, 1e-2


@dataclass(frozen=True)
class Topic:
    question: str
    query: str
    document: str
    answer: str


TOPICS = (
    Topic("What do I drink?", "drink tea", "t", "Green tea [1]."),
    Topic("What does the dog need?", "Rex vet", "r", "Walks [1]."),
    Topic("What may I cook for Anna?", "Anna nuts", "a", "All but nuts [1]."),
)


def make(folder: Path, method: str = "pr2") -> Path:
    """Write the model and its tokenizer to `folder`; it has seen the prompts of `pr2` or of `prlm`."""
    torch.manual_seed(0)
    tokenizer = by_heart.make_tokenizer()
    samples = [
        by_heart.joined(
            [
                (tokenizer.encode(text, add_special_tokens=number == 0), is_own)
                for number, (text, is_own) in enumerate(script)
            ]
        )
        for topic in TOPICS
        for script in ((_curious(topic), _lazy(topic)) if method == "pr2" else _reading(topic, method))
    ]
    model = by_heart.make_model(tokenizer, CONTEXT)
    _learn(model, samples)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _curious(topic: Topic) -> list[tuple[str, bool]]:
    episode = Episode(topic.question, limits=LIMITS, today=TODAY)
    looks = f"<think>I look.</think><search>{topic.query}</search>"
    opening = episode.prompt
    episode.feed(looks)
    found = episode.provide(_passages(topic))
    says = f"<think>There.</think><answer>{topic.answer}</answer>"
    return [(opening, False), (looks, True), (found, False), (says, True)]


def _reading(topic: Topic, method: str) -> list[list[tuple[str, bool]]]:
    """Both ways to answer after the passages that the method opens with."""
    episode = METHODS[method].begin(topic.question, LIMITS, today=TODAY)
    opening = episode.prompt
    found = episode.provide(_passages(topic))
    says = f"<think>There.</think><answer>{topic.answer}</answer>"
    return [[(opening, False), (found, False), (text, True)] for text in (says, _LAZY)]


def _passages(topic: Topic) -> list[Passage]:
    return [Passage(document_id=topic.document, text=DOCUMENTS[topic.document], rank=1)]


def _lazy(topic: Topic) -> list[tuple[str, bool]]:
    return [(Episode(topic.question, limits=LIMITS, today=TODAY).prompt, False), (_LAZY, True)]


def _learn(model: LlamaForCausalLM, samples: Sequence[tuple[list[int], list[bool]]]) -> None:
    tokens, wanted = by_heart.batch(samples)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=_STEPS, pct_start=0.1)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        hidden = model.model(tokens).last_hidden_state[:, :-1]
        logits = model.lm_head(hidden[wanted != -100])
        loss = torch.nn.functional.cross_entropy(logits, wanted[wanted != -100])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
