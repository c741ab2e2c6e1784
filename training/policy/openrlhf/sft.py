"""OpenRLHF's command line for SFT (0.11.2), on trajectories: `python -m training.policy.openrlhf.sft FLAGS`.

It replaces one class, the data set. OpenRLHF's own encodes prompt and response as one text without BOS,
strips newlines at its end, appends a space and EOS, and truncates long texts. A served policy sees other
tokens (agent/tokens.py) and ends its turns with tags. Model, loss, schedule and checkpoints are OpenRLHF's.
"""

import runpy
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import openrlhf.datasets
import torch

from agent.prompts import PROMPT_VERSION
from training.policy.warmstart import WarmstartExample, WarmstartSegment
from training.stamp import stamp

Tokenizer = Any
"""A tokenizer of transformers."""


def encoded(tokenizer: Tokenizer, segments: Sequence[WarmstartSegment]) -> tuple[list[int], list[bool]]:
    """Token ids of a transcript, and for each whether the policy wrote it.

    Each segment is encoded separately; only the first gets BOS (the rule of agent/tokens.py).
    """
    ids: list[int] = []
    from_policy: list[bool] = []
    for number, segment in enumerate(segments):
        own = tokenizer.encode(segment.text, add_special_tokens=number == 0)
        ids += own
        from_policy += [segment.author == "policy"] * len(own)
    return ids, from_policy


class Trajectories(openrlhf.datasets.SFTDataset):  # type: ignore[misc]
    """The rows of `pr2 train warmstart` in the form that OpenRLHF's trainer takes.

    The loss covers only the policy's tokens. Trajectories longer than `max_length` are left out and counted:
    from truncated ones, the model would learn to search and never to answer. The parent class makes batches.
    """

    def __init__(
        self,
        dataset: Iterable[Mapping[str, Any]],
        tokenizer: Tokenizer,
        max_length: int,
        strategy: Any,
        pretrain_mode: bool = False,
        multiturn: bool = False,
        **_template: Any,
    ) -> None:
        """Raises ValueError for flags of other kinds of data, other prompts' data, and less than a batch."""
        if pretrain_mode or multiturn:
            raise ValueError(
                "--model.pretrain_mode_enable and --data.multiturn are for other kinds of data: remove them"
            )
        self.tokenizer = tokenizer
        self._encoded = []
        left_out = 0
        for example in map(WarmstartExample.model_validate, dataset):
            if example.prompt_version != PROMPT_VERSION:
                raise ValueError(
                    f"the trajectories have prompts of version {example.prompt_version!r}, but the current "
                    f"version is {PROMPT_VERSION!r}: select them again (pr2 train warmstart)"
                )
            ids, from_policy = encoded(tokenizer, example.segments)
            if len(ids) > max_length:
                left_out += 1
            else:
                self._encoded.append((ids, from_policy))
        kept = len(self._encoded)
        strategy.print(f"{kept} trajectories; left out {left_out} longer than {max_length} tokens")
        batch = strategy.args.train.batch_size
        if len(self._encoded) < batch:
            # Without a full batch, OpenRLHF would save weights that have learned nothing.
            raise ValueError(
                f"a batch takes {batch} trajectories of at most {max_length} tokens, but there are "
                f"{len(self._encoded)}: use a higher --data.max_len, or a smaller --train.batch_size"
            )

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Token ids, attention mask and loss mask, each of shape (1, tokens).

        The loss mask at a position is that of the next token, which the model predicts there.
        """
        ids, from_policy = self._encoded[index]
        input_ids = torch.tensor([ids])
        loss_mask = torch.tensor([[*from_policy[1:], False]], dtype=torch.float32)
        return input_ids, torch.ones_like(input_ids), loss_mask


def main(flags: Sequence[str]) -> None:
    """Train, and stamp the weights with the version of their prompts."""
    openrlhf.datasets.SFTDataset = Trajectories
    sys.argv = ["train_sft", *flags]
    done = runpy.run_module("openrlhf.cli.train_sft", run_name="__main__")
    if torch.distributed.get_rank() == 0:
        stamp(Path(done["args"].ckpt.output_dir), "policy")


if __name__ == "__main__":
    main(sys.argv[1:])
