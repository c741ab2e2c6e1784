"""Our data set in OpenRLHF's own SFT: the tokens that are learned, from golden ids to the gradient."""

import itertools
import json
import os
import shlex
import socket
import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from openrlhf.datasets import SFTDataset
from openrlhf.datasets.utils import blending_datasets
from openrlhf.models import Actor, SFTLoss
from typer.testing import CliRunner

from agent.checkpoints import STAMP, check_prompts
from agent.prompts import PROMPT_VERSION
from server.cli import app
from tests.golden.cases import CASES, Case, replay
from tests.golden.tokens import BOS, TOKENIZER, encode, expected_ids
from tests.openrlhf.world import GoldenTokenizer
from tests.training import tiny
from tests.training.evaluation.fabricated_runs import write_run
from training.evaluation.records import TRAJECTORIES, AspectScore, Record, by_rubric
from training.policy.openrlhf.sft import Trajectories
from training.policy.warmstart import WarmstartExample, WarmstartSegment

BY_NAME = {case.name: case for case in CASES}
LONGEST = 16_384
LONGEST_S = 900.0
ROOT = Path(__file__).parents[2]
VOCABULARY = TOKENIZER.get_vocab_size()


class Padding(GoldenTokenizer):
    """The golden tokenizer with a padding token."""

    pad_token_id = 1


class Strategy:
    """The part of OpenRLHF's strategy that a data set uses."""

    args = Namespace(use_ms=False, train=Namespace(batch_size=1))

    def __init__(self) -> None:
        self.said: list[str] = []

    def print(self, text: str) -> None:
        self.said.append(text)

    def is_rank_0(self) -> bool:
        return False


def example(case: Case, **changes: Any) -> WarmstartExample:
    segments = tuple(WarmstartSegment(author=one.author, text=one.text) for one in replay(case).segments)
    made = WarmstartExample(id=case.name, score=1.0, prompt_version=PROMPT_VERSION, segments=segments)
    return made.model_copy(update=changes)


def rows(cases: Sequence[Case], **changes: Any) -> list[dict[str, Any]]:
    return [example(case, **changes).model_dump() for case in cases]


def dataset(cases: Sequence[Case], longest: int = LONGEST, strategy: Strategy | None = None) -> Any:
    return Trajectories(rows(cases), Padding(), longest, strategy or Strategy())


def authors(case: Case) -> list[str]:
    """The author of each token of the case."""
    return [
        segment.author
        for number, segment in enumerate(replay(case).segments)
        for _ in encode(segment.text, opening=number == 0)
    ]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def test_the_loss_covers_only_the_policys_tokens(case: Case) -> None:
    input_ids, attention_mask, loss_mask = dataset([case])[0]
    assert input_ids.shape == attention_mask.shape == loss_mask.shape
    assert attention_mask.all()
    learned = [bool(on) for on in loss_mask[0]]
    # At each position the model predicts the next token; the last one has none.
    assert [*learned[:-1]] == [author == "policy" for author in authors(case)[1:]]
    assert learned[-1] is False


def test_the_environments_text_has_the_tokens_of_serving(case: Case) -> None:
    input_ids = dataset([case])[0][0][0].tolist()
    segments = replay(case).segments
    own = [encode(segment.text, opening=number == 0) for number, segment in enumerate(segments)]
    assert input_ids == list(itertools.chain.from_iterable(own))
    assert own[::2] == expected_ids(case)[::2]
    assert input_ids.count(TOKENIZER.token_to_id(BOS)) == 1


def test_nothing_is_learned_after_the_tag_that_ends_a_turn() -> None:
    case = BY_NAME["one_search"]
    input_ids, _, loss_mask = dataset([case])[0]
    wanted = [token for token, on in zip(input_ids[0, 1:], loss_mask[0], strict=False) if on]
    assert TOKENIZER.decode(wanted, skip_special_tokens=False) == "".join(case.turns)


def test_openrlhfs_own_data_set_would_teach_another_end(tmp_path: Path) -> None:
    """Why it is replaced: it appends a space and EOS to the answer, and omits BOS."""
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

    from tests.golden.tokens import EOS

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=TOKENIZER, bos_token=BOS, eos_token=EOS, pad_token=EOS
    )
    prompt, answer = (segment.text for segment in replay(BY_NAME["direct_answer"]).segments)
    strategy = Strategy()
    strategy.args = Namespace(data=Namespace(input_key="input", output_key="output"))
    stock = SFTDataset(
        Dataset.from_list([{"input": prompt, "output": answer}]),
        tokenizer,
        LONGEST,
        strategy,
        num_processors=None,
    )
    ids = stock[0][0][0].tolist()
    assert tokenizer.decode(ids).endswith(f"</answer> {EOS}")
    assert tokenizer.bos_token_id not in ids


def test_a_file_of_rows_is_read_as_openrlhf_reads_it(tmp_path: Path) -> None:
    cases = [BY_NAME[name] for name in ("one_search", "three_searches_with_citations", "direct_answer")]
    file = tmp_path / "sft.jsonl"
    file.write_text("".join(example(case).model_dump_json() + "\n" for case in cases), "utf-8")
    strategy = Strategy()
    read = Trajectories(blending_datasets(str(file), strategy=strategy), Padding(), LONGEST, strategy)
    for number, case in enumerate(cases):
        assert all(torch.equal(*pair) for pair in zip(read[number], dataset([case])[0], strict=True))


def test_a_trajectory_that_is_too_long_is_left_out_and_never_cut() -> None:
    short, long = BY_NAME["direct_answer"], BY_NAME["three_searches_with_citations"]
    length = len(authors(short))
    strategy = Strategy()
    kept = dataset([long, short], length, strategy)
    assert len(kept) == 1
    assert kept[0][0].shape == (1, length)
    assert strategy.said == [f"1 trajectories; left out 1 longer than {length} tokens"]
    with pytest.raises(ValueError, match=r"use a higher --data\.max_len"):
        dataset([long, short], length - 1)


def test_other_kinds_of_data_are_refused() -> None:
    older = rows(CASES[:1], prompt_version="0")
    with pytest.raises(ValueError, match="prompts of version '0'"):
        Trajectories(older, Padding(), LONGEST, Strategy())
    for flag in ("pretrain_mode", "multiturn"):
        with pytest.raises(ValueError, match="remove them"):
            Trajectories(rows(CASES[:1]), Padding(), LONGEST, Strategy(), **{flag: True})


class Fixed(torch.nn.Module):
    """A model with constant logits."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, *_: Any, **__: Any) -> dict[str, torch.Tensor]:
        return {"logits": self.logits}


def loss(batch: Sequence[torch.Tensor], logits: torch.Tensor) -> torch.Tensor:
    """The loss as OpenRLHF's SFTTrainer.fit computes it."""
    input_ids, attention_mask, loss_mask = batch
    actor = Actor(Fixed(logits))
    actor.packing_samples = False
    per_token = actor(input_ids, attention_mask=attention_mask, return_logprobs=True)
    found: torch.Tensor = SFTLoss()(per_token, loss_mask[:, :-1])
    return found


def test_the_gradient_is_zero_wherever_the_environment_wrote_what_follows() -> None:
    cases = [BY_NAME["three_searches_with_citations"], BY_NAME["direct_answer"]]
    data = dataset(cases)
    batch = data.collate_fn([data[0], data[1]])
    logits = torch.randn(*batch[0].shape, VOCABULARY, requires_grad=True)
    loss(batch, logits).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    reached = logits.grad.abs().sum(-1) > 0
    for row, case in enumerate(cases):
        written = [author == "policy" for author in authors(case)[1:]]
        padding = [False] * (logits.shape[1] - len(written))
        assert reached[row].tolist() == written + padding


def test_a_target_of_the_environment_changes_nothing_and_one_of_the_policy_does() -> None:
    case = BY_NAME["one_search"]
    input_ids, *masks = dataset([case])[0]
    torch.manual_seed(0)
    # The logits are constant: a changed token is a changed target, not a changed input.
    logits = torch.randn(*input_ids.shape, VOCABULARY)
    before = loss([input_ids, *masks], logits)
    for place, author in enumerate(authors(case)):
        changed = input_ids.clone()
        changed[0, place] = (changed[0, place] + 1) % VOCABULARY
        assert torch.equal(loss([changed, *masks], logits), before) == (author == "environment"), place


def trained(folder: Path, cases: Sequence[Case]) -> Path:
    """Run the command that `pr2 train warmstart` prints on a run with these cases."""
    records = [
        Record(
            id=case.name,
            category="c",
            question=case.question,
            response="",
            finish_reason="answered",
            assessment=by_rubric([AspectScore("a", 2)]),
            searches=0,
            documents_read=0,
            profile_size=0,
            prompt_tokens=0,
            policy_tokens=0,
            latency_ms=0.0,
        )
        for case in cases
    ]
    run = write_run(folder / "run", records, trajectories=False)
    kept = [{"id": case.name, "trajectory": replay(case).to_dict()} for case in cases]
    (run / TRAJECTORIES).write_text("".join(json.dumps(one) + "\n" for one in kept), "utf-8")
    asked = (run, "--out", folder / "out", "--model", tiny.make(folder / "model"))
    chosen = CliRunner().invoke(app, ["train", "warmstart", *map(str, asked)])
    assert chosen.exit_code == 0, chosen.output
    launcher, _, module, *flags = shlex.split(chosen.stdout.splitlines()[-1])
    assert launcher == "deepspeed"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # As the launcher sets them for the only process of a machine without a GPU.
    environment = {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "DS_ACCELERATOR": "cpu",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{Path(__file__).parent / 'shims'}:{ROOT}",
    }
    quick = ("--ds.attn_implementation", "eager", "--adam.lr", "1e-3", "--train.max_epochs", "6")
    done = subprocess.run(
        [sys.executable, "-m", module, *flags, *quick],
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-8000:]
    assert f"{len(cases)} trajectories; left out 0 " in done.stdout
    return folder / "out" / "model"


def loss_of(model: Path, cases: Sequence[Case]) -> float:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.pad_token = tokenizer.eos_token
    data = Trajectories(rows(cases), tokenizer, LONGEST, Strategy())
    batch = data.collate_fn([data[number] for number in range(len(data))])
    with torch.no_grad():
        network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        return float(loss(batch, network(batch[0], attention_mask=batch[1]).logits))


def test_the_printed_command_trains_a_model_and_stamps_it(tmp_path: Path) -> None:
    cases = [BY_NAME[name] for name in ("one_search", "nothing_found", "injection_document", "direct_answer")]
    model = trained(tmp_path, cases)
    assert json.loads((model / STAMP).read_text()) == {"kind": "policy", "prompt_version": PROMPT_VERSION}
    check_prompts(str(model))
    assert loss_of(model, cases) < loss_of(tmp_path / "model", cases) - 0.5
