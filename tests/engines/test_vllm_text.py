"""Plain texts and likelihoods by vLLM in this process, compared with transformers."""

import asyncio
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from agent.engines.errors import EngineError
from agent.engines.text import Decoding
from agent.engines.vllm_text import VLLMText
from agent.policies.vllm import VLLMPolicy
from tests.engines.model import CONTEXT

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLASSIFY = (
    "the score stated for the tea is 5, and which score has the green tea from 1 to 5? just answer with it."
)
GENERATE = (
    "the title stated for the tea in Bergen is Green tea, write a title of the next: I drink green tea."
)


async def test_it_writes_and_scores_as_transformers_does(in_process: VLLMPolicy, model_dir: Path) -> None:
    most = 12
    text = VLLMText(in_process.engine, str(model_dir), Decoding(max_tokens=most))
    tokenizer, plain = AutoTokenizer.from_pretrained(model_dir), LlamaForCausalLM.from_pretrained(model_dir)
    expected, likelihoods = [], []
    for prompt, target in ((CLASSIFY, "5"), (GENERATE, "Green tea")):
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        written = plain.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=False, pad_token_id=0
        )
        expected.append(tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True))
        targets = tokenizer(target, return_tensors="pt", add_special_tokens=False).input_ids
        with torch.no_grad():
            logits = plain(torch.cat([ids, targets], dim=1)).logits[0, ids.shape[1] - 1 : -1]
        chosen = logits.log_softmax(-1).gather(-1, targets[0][:, None])
        likelihoods.append(chosen.mean().item())
    assert await asyncio.gather(*map(text.generate, (CLASSIFY, GENERATE))) == expected
    found = await asyncio.gather(text.likelihood(CLASSIFY, "5"), text.likelihood(GENERATE, "Green tea"))
    assert found == pytest.approx(likelihoods, abs=1e-3)
    assert text.count(CLASSIFY) == len(tokenizer(CLASSIFY).input_ids) - 1
    assert text.description["weights"] is not None


async def test_a_prompt_without_room_for_the_text_is_refused(in_process: VLLMPolicy, model_dir: Path) -> None:
    text = VLLMText(in_process.engine, str(model_dir), Decoding(max_tokens=CONTEXT - 10))
    with pytest.raises(EngineError, match=f"more than the {CONTEXT} of tiny") as raised:
        await text.generate(GENERATE)
    assert raised.value.fault == "refused"
    with pytest.raises(EngineError, match="has no beam search"):
        VLLMText(in_process.engine, str(model_dir), Decoding(beams=4))
