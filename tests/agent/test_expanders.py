import pytest

from agent.engines.errors import EngineError
from agent.engines.text import ScriptedText
from agent.expanders import QUESTION, ModelExpander
from index.ranking.expanding import LONGEST, SENTENCES, ExpanderFailure


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("I'm five foot eight.\nMy hair is red.", ["I'm five foot eight.", "My hair is red."]),
        ("1. I'm tall.\n2) I'm short.\n- I'm old.\n• Ich bin alt.", [
            "I'm tall.", "I'm short.", "I'm old.", "Ich bin alt."
        ]),
        ("2024 was a good year", ["2024 was a good year"]),
    ],
)  # fmt: skip
async def test_each_line_is_a_sentence_without_its_bullet(written: str, expected: list[str]) -> None:
    expander = ModelExpander(ScriptedText(lambda prompt: written), "small")
    assert list(await expander.expand("What do I look like?")) == expected


async def test_the_question_is_one_bounded_line_of_the_prompt() -> None:
    model = ScriptedText(lambda prompt: "Yes.")
    await ModelExpander(model, "small").expand("What do I\nlook like?\nSentences: {count} " + "x" * 5_000)
    [prompt] = model.prompts
    assert "\nQuestion: What do I look like? Sentences: {count} xxx" in prompt
    assert prompt.count("\nSentences:") == 1
    assert prompt.count("x") < QUESTION


async def test_a_long_reply_is_cut() -> None:
    expander = ModelExpander(ScriptedText(lambda prompt: "word " * 100_000), "small")
    assert sum(map(len, await expander.expand("?"))) <= 2 * SENTENCES * LONGEST


@pytest.mark.parametrize("written", ["", " \n\n "])
async def test_nothing_written_is_a_failure(written: str) -> None:
    with pytest.raises(ExpanderFailure, match="wrote nothing"):
        await ModelExpander(ScriptedText(lambda prompt: written), "small").expand("?")


async def test_an_engine_that_fails_is_named_without_the_question() -> None:
    def fails(prompt: str) -> str:
        raise EngineError("timeout", f"no reply to {prompt}")

    with pytest.raises(ExpanderFailure, match=r"^small: timeout$"):
        await ModelExpander(ScriptedText(fails), "small").expand("What do I look like?")
