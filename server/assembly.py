"""Builds a service from settings: store, encoder, policy, planner and selector."""

from contextlib import suppress

from agent.auto import NEEDS_SELECTOR
from agent.engines.factory import make_policy, text_model
from agent.engines.settings import EngineSettings
from agent.engines.text import Decoding
from agent.expanders import TOKENS, ModelExpander
from agent.rerankers import RerankerOptions, load_reranker
from agent.selecting import SelectorUnavailable, load_selector
from agent.trajectory import AUTO
from index.errors import StoreUnavailable
from index.profiles import open_profiles
from index.ranking.reranking import Reranker
from server.service import Service
from server.settings import Settings


def open_service(settings: Settings) -> Service:
    """Load the encoder and the selector, open the store and make the policy.

    Raises EncoderUnavailable, InvalidName, EncoderMismatch, StoreUnavailable, StoreDamaged, EngineError, and
    SelectorUnavailable if there is no selector for the retriever `auto`, or it names an unknown retriever,
    and RerankerUnavailable.
    """
    if settings.retriever == AUTO and settings.selector is None:
        raise SelectorUnavailable(NEEDS_SELECTOR)
    reranker = _reranker(settings) if settings.reranker else None
    expander = _expander(settings.expansion) if settings.expansion else None
    policy = make_policy(settings.policy)
    planner = policy if settings.planning == settings.policy else make_policy(settings.planning)
    profiles = open_profiles(
        settings.url,
        settings.encoder,
        options=settings.encoding,
        spaces=settings.spaces,
        passage_tokens=settings.passage_tokens,
        cache_bytes=settings.cache_mb * 2**20,
        document_bytes=settings.document_mb * 2**20,
        accept_loss=settings.accept_loss,
    )
    with suppress(OSError):  # The store reports it on first use.
        settings.data.mkdir(0o700, parents=True, exist_ok=True)
    selector = (
        load_selector(settings.selector, known=profiles.retrievers.names) if settings.selector else None
    )
    plans = planner if settings.planning.has_model else None
    return Service(profiles, policy, settings, plans, selector, reranker, expander)


def _expander(settings: EngineSettings) -> ModelExpander:
    decoding = Decoding(temperature=settings.temperature, max_tokens=TOKENS)
    return ModelExpander(text_model(settings, decoding), settings.model)


def _reranker(settings: Settings) -> Reranker:
    key = settings.rerank_api_key
    options = RerankerOptions(
        settings.rerank_model, key.get_secret_value() if key else None, settings.rerank_ms
    )
    return load_reranker(settings.reranker, options)


def open_to_look(settings: Settings) -> Service:
    """A service for reading and deleting. Starts quickly because it loads no encoder.

    Raises StoreUnavailable if the store does not exist.
    """
    if settings.database_url is None and not settings.database.exists():
        raise StoreUnavailable(
            f"there is no store in {settings.data}; pr2 profile import USER PATH makes one"
        )
    profiles = open_profiles(
        settings.url,
        None,
        cache_bytes=settings.cache_mb * 2**20,
        accept_loss=settings.accept_loss,
    )
    return Service(profiles, make_policy(EngineSettings()), settings)
