import json
from pathlib import Path

import pytest

from agent.checkpoints import STAMP, check_prompts, prompt_version
from agent.engines.errors import EngineError
from agent.prompts import PROMPT_VERSION


@pytest.mark.parametrize("model", ["", "Qwen/Qwen2.5-7B-Instruct"])
def test_of_a_model_on_the_hub_nothing_is_known(model: str) -> None:
    assert prompt_version(model) is None
    check_prompts(model)


def test_a_folder_without_the_file_is_taken_as_it_is(tmp_path: Path) -> None:
    check_prompts(str(tmp_path))


def test_a_model_that_was_trained_on_these_prompts_is_taken(tmp_path: Path) -> None:
    (tmp_path / STAMP).write_text(json.dumps({"prompt_version": PROMPT_VERSION}))
    assert prompt_version(str(tmp_path)) == PROMPT_VERSION
    check_prompts(str(tmp_path))


def test_a_model_that_was_trained_on_others_is_refused_and_both_are_named(tmp_path: Path) -> None:
    (tmp_path / STAMP).write_text(json.dumps({"prompt_version": "0"}))
    with pytest.raises(EngineError, match=f"version 0 of the prompts, and this is version {PROMPT_VERSION}"):
        check_prompts(str(tmp_path))


@pytest.mark.parametrize("content", ["", "{}", "[]", "{"])
def test_a_file_that_does_not_say_it_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / STAMP).write_text(content)
    with pytest.raises(EngineError, match="does not say what the model was trained on"):
        check_prompts(str(tmp_path))
