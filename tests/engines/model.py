"""Trains a tiny model that reproduces the golden scripts exactly.

A random model writes no tags. This one is trained on the policy's turns until it writes them with greedy
decoding, so that a real engine runs whole episodes exactly as in the golden files.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from agent.episode import Episode
from agent.tags import STOP
from agent.trajectory import Limits, Search
from tests.golden.cases import CASES, Case, passages

BOS, EOS = "<|begin|>", "<|end|>"
ENDLESS = "Sing for ever."
"""The question that the model answers without end, until it is stopped."""
CONTEXT = 2_048
_SONG = "<think>" + " la" * 150
_VOCABULARY = 2_048
_STEPS = 500
_RATE = 1e-2
_CERTAIN = 0.1
"""The highest loss of any token: a probability of 90 %, which no rounding error can change."""


def turns(case: Case) -> Iterator[tuple[Episode, str]]:
    """Each turn of a case: the episode before it, and the text up to its stop string."""
    episode = Episode(case.question, limits=case.limits, today=case.today, clock=lambda: 0.0)
    found = iter(case.found)
    for turn in case.turns:
        ends = [turn.index(stop) + len(stop) for stop in STOP if stop in turn]
        written = turn[: min(ends, default=len(turn))]
        yield episode, written
        if isinstance(episode.feed(written) or episode.end_turn(), Search):
            episode.provide(passages(case, next(found)))


def make(folder: Path) -> Path:
    """Write the model and its tokenizer to `folder`. Raises RuntimeError if it has not learned."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    samples = [_sample(tokenizer, case) for case in CASES]
    song = Episode(ENDLESS, limits=Limits())
    samples.append(joined([(tokenizer.encode(song.prompt), False), (_plain(tokenizer, _SONG), True)]))
    model = make_model(tokenizer, CONTEXT)
    _learn(model, samples)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_model(tokenizer: PreTrainedTokenizerFast, context: int) -> LlamaForCausalLM:
    """A tiny, untrained model."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=context,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            tie_word_embeddings=False,
        )
    )


def make_tokenizer() -> PreTrainedTokenizerFast:
    texts = [text for case in CASES for episode, written in turns(case) for text in (episode.prompt, written)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=[BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS)
    made.chat_template = "{{ bos_token }}{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    return made


def _plain(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


def _sample(tokenizer: PreTrainedTokenizerFast, case: Case) -> tuple[list[int], list[bool]]:
    """A case's tokens, and a mask of those to learn."""
    parts: list[tuple[list[int], bool]] = []
    known = 0
    for episode, written in turns(case):
        for index, segment in list(enumerate(episode.segments))[known:]:
            if segment.author == "environment":
                ids = tokenizer.encode(segment.text, add_special_tokens=index == 0)
                parts.append((ids, False))
        known = len(episode.segments) + 1
        ids = _plain(tokenizer, written)
        if not written.endswith(STOP):
            ids.append(tokenizer.eos_token_id)
        parts.append((ids, True))
    return joined(parts)


def joined(parts: Sequence[tuple[list[int], bool]]) -> tuple[list[int], list[bool]]:
    ids = [token for part, _ in parts for token in part]
    return ids, [learned for part, learned in parts for _ in part]


def _learn(model: LlamaForCausalLM, samples: Sequence[tuple[list[int], list[bool]]]) -> None:
    ordered = sorted(samples, key=lambda sample: len(sample[0]))
    # Two batches, of short and long sequences, to reduce padding.
    batches = [batch(ordered[: len(ordered) // 2]), batch(ordered[len(ordered) // 2 :])]
    count = sum(int((wanted != -100).sum()) for _, wanted in batches)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=_STEPS, pct_start=0.1)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        worst = 0.0
        for tokens, wanted in batches:
            hidden = model.model(tokens).last_hidden_state[:, :-1]
            # Compute logits only for tokens to learn.
            logits = model.lm_head(hidden[wanted != -100])
            losses = torch.nn.functional.cross_entropy(logits, wanted[wanted != -100], reduction="none")
            (losses.sum() / count).backward()  # type: ignore[no-untyped-call]
            worst = max(worst, losses.max().item())
        if worst < _CERTAIN:
            return
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    raise RuntimeError(f"the model has not learned its scripts: loss {worst:.2f} at the worst token")


def batch(samples: Sequence[tuple[list[int], list[bool]]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens, and at each position the next one if the policy wrote it, else -100; (rows, length), padded."""
    length = max(len(ids) for ids, _ in samples)
    tokens = torch.zeros(len(samples), length, dtype=torch.long)
    wanted = torch.full((len(samples), length - 1), -100)
    for row, (ids, learned) in enumerate(samples):
        tokens[row, : len(ids)] = torch.tensor(ids)
        own = [token if is_own else -100 for token, is_own in zip(ids, learned, strict=True)]
        wanted[row, : len(ids) - 1] = torch.tensor(own[1:])
    return tokens, wanted
