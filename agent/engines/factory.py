"""Makes a policy, a chat model or a text model from engine settings."""

from agent.checkpoints import check_prompts
from agent.engines.registry import ENGINES, ChatModel
from agent.engines.settings import EngineSettings
from agent.engines.text import Decoding, TextModel
from agent.policy import Policy


def make_policy(settings: EngineSettings) -> Policy:
    """The policy for these settings. Raises EngineError if the model was trained on other prompts."""
    check_prompts(settings.model)
    return ENGINES[settings.engine].policy(settings)


def chat_model(settings: EngineSettings) -> ChatModel:
    """The chat model for these settings. Raises EngineError if the engine has none.

    A server sends nothing until its reply is complete: `first_byte_timeout_s` has to allow for all of it.
    """
    return ENGINES[settings.engine].chat_model(settings)


def text_model(settings: EngineSettings, decoding: Decoding) -> TextModel:
    """The text model for these settings. Raises EngineError if the engine has none, or cannot decode so."""
    return ENGINES[settings.engine].text_model(settings, decoding)
