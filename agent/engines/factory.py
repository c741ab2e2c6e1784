"""Makes what engine settings name: a policy for answering, or a chat model for judging."""

from agent.checkpoints import check_prompts
from agent.engines.registry import ENGINES, ChatModel
from agent.engines.settings import EngineSettings
from agent.policy import Policy


def make_policy(settings: EngineSettings) -> Policy:
    """The policy for these settings. Raises EngineError if its model was trained on other prompts."""
    check_prompts(settings.model)
    return ENGINES[settings.engine].policy(settings)


def chat_model(settings: EngineSettings) -> ChatModel:
    """The chat model for these settings. Raises EngineError if the engine has none.

    A server sends nothing before a whole reply is complete: `idle_timeout_s` bounds the time for one reply.
    """
    return ENGINES[settings.engine].chat_model(settings)
