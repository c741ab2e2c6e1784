"""The settings. Later sources win: defaults, `pr2.toml`, environment (`PR2_…`), flags."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from agent.engines.settings import EngineSettings
from agent.trajectory import AUTO, Limits
from index.encoding.options import EncoderOptions
from index.numbers import Integer, Number
from index.ranking.reranking import CANDIDATES, LIMIT_MS
from index.storage.location import FILE, file_url
from index.text.passages import PASSAGE_TOKENS
from index.when.zones import zone_named
from server.access.patterns import LOOPBACK_ORIGINS
from server.access.settings import Hosts, IdentitySettings, Origins, PublicURL, RootPath
from server.http.settings import ConnectionSettings
from server.logs import LogFormat

CONFIGURATION = Path("pr2.toml")
"""Configuration file, in the current folder."""
MOST_TOKENS = 32_768
"""Most tokens that a policy may write for one question."""


class QuestionLimits(BaseModel, extra="forbid"):
    """Defaults for a question; a request may set other values within the same bounds."""

    max_searches: Integer = Field(4, ge=0, le=16)
    top_k: Integer = Field(5, ge=1, le=100)
    max_documents: Integer = Field(20, ge=1, le=400)
    max_tokens: Integer = Field(2_048, ge=1, le=MOST_TOKENS)
    deadline_ms: Integer = Field(60_000, ge=1, le=600_000)

    def limits(self, given: Mapping[str, int] | None = None) -> Limits:
        """The limits of one question: these, except for those `given` with it. Raises ValidationError."""
        defaults = {name: getattr(self, name) for name in QuestionLimits.model_fields}
        return Limits(**QuestionLimits.model_validate(defaults | dict(given or {})).model_dump())


class LimitSettings(QuestionLimits):
    """Cost of one question, and how many are answered at once."""

    concurrency: Integer = Field(64, ge=1)
    """Answers in progress at the same time: as many as the engine batches well."""
    queue: Integer = Field(1_024, ge=0)
    """Questions waiting for their turn; further ones are refused with a 429."""
    queue_per_user: Integer = Field(256, ge=1)
    """Questions of one user among them, so that one user alone cannot fill the queue."""
    question_characters: Integer = Field(32_000, ge=1)
    """Longest question, and longest plan that a caller gives."""
    requests: Integer = Field(64, ge=1)
    """Searches and writes of one user in progress at the same time; further ones are refused with a 429."""


def _known_zone(name: str) -> str:
    zone_named(name)
    return name


class Settings(BaseSettings):
    """All settings. Nested fields in the environment: `PR2_POLICY__BASE_URL`."""

    model_config = SettingsConfigDict(
        env_prefix="PR2_", env_nested_delimiter="__", toml_file=CONFIGURATION, extra="forbid"
    )

    host: str = "127.0.0.1"
    port: Integer = Field(8000, ge=0, le=65_535)
    root_path: RootPath = ""
    """Path prefix under which a proxy serves it, like /pr2; whether the proxy strips it does not matter."""
    public_url: PublicURL | None = None
    """URL of the server in citations, with the prefix. Default: that of each request, by its allowed host."""
    allowed_hosts: Hosts = ()
    """Names under which the server is reached (Host header), besides localhost, 127.0.0.1 and [::1]."""
    allowed_origins: Origins = LOOPBACK_ORIGINS
    """Origins of web pages that may call the server, besides its own: app://obsidian.md, vscode-webview://*."""
    token: SecretStr | None = None
    """Secret that every request must bring, as `Authorization: Bearer TOKEN`."""
    identity: IdentitySettings = IdentitySettings()
    connections: ConnectionSettings = ConnectionSettings()
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[Integer, Field(ge=0, le=65_535)] | None = None
    """Port of /metrics, which needs no token there. Without one, /metrics is on the server's own port."""
    log_format: LogFormat = "text"
    """Lines of `pr2 serve`: `text`, or one JSON object each."""
    log_text: bool = False
    """With `json`, messages may say names and texts of users; without it, they are templates alone."""
    audit_log: Path | None = None
    """File to which who read, wrote, asked and erased what is appended, one JSON object a line; ids only."""
    grace_s: Number = Field(8, ge=0)
    """Seconds that requests in progress have once the server is to stop. Docker kills after 10."""
    data: Path = Path("data")
    """Folder of the store."""
    database_url: str | None = None
    """Database to use instead of the SQLite file in `data`."""
    encoder: str = "minilm"
    """`minilm`, `multilingual`, `openai`, `contriever`, `contriever:PATH`, or the path of a
    sentence-transformers model."""
    encoding: EncoderOptions = EncoderOptions()
    """Prompts of that encoder, and the server of `openai`."""
    spaces: dict[str, str] = {}
    """Further embedding spaces of the store: name → encoder. Each is a retriever of that name."""
    passage_tokens: Integer = Field(PASSAGE_TOKENS, ge=16)
    """Longest passage, in tokens: longer documents are split. The encoder's window is the upper bound."""
    retriever: str = "hybrid"
    """How profiles are ranked; `auto` lets the selector choose for each question."""
    selector: Path | None = None
    """Folder of a selector that `pr2 train selector` wrote, for the retriever `auto`."""
    reranker: str = ""
    """Reranker of the passages found: the folder of a cross-encoder, `cohere:URL` (also vLLM and Jina) or
    `tei:URL`. None by default."""
    rerank_candidates: Integer = Field(CANDIDATES, ge=2, le=400)
    """Passages that are reranked for each query."""
    rerank_ms: Integer = Field(LIMIT_MS, ge=1)
    """Longest wait for the reranker, in milliseconds; then the retriever's order stays, and is counted."""
    rerank_model: str = ""
    """The model's name, for servers with several."""
    rerank_api_key: SecretStr | None = None
    time_zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    """IANA name of the time zone in which people ask, like Europe/Berlin, unless a request names another."""
    cache_mb: Integer = Field(1_024, ge=1)
    """Memory for loaded profiles, in MiB."""
    document_mb: Integer = Field(4, ge=1, le=16)
    """Largest document, in MiB of UTF-8: text, title, metadata and all."""
    remember: bool = False
    """Add questions to the history of those who ask them, as their own messages. A request can differ."""
    accept_loss: bool = False
    """Open a store whose write-ahead log is damaged, without the writes behind the damage."""
    upload_mb: Integer = Field(1_024, ge=1)
    """Largest request body, in MiB."""
    policy: EngineSettings = EngineSettings()
    planner: dict[str, Any] = {}
    """Model that writes the plans of the method `planpers`: the fields in which it differs from `policy`."""
    limits: LimitSettings = LimitSettings()

    @model_validator(mode="after")
    def _plans(self) -> Self:
        self.policy.check_policy()
        self.planning.check_policy()
        return self

    @model_validator(mode="after")
    def _spaces(self) -> Self:
        for name, encoder in self.spaces.items():
            if not name or not encoder:
                raise ValueError(f"spaces: {name or encoder!r} has to be NAME=ENCODER")
        if AUTO in self.spaces:
            raise ValueError(f"spaces: none can be named {AUTO}, which asks for a choice among retrievers")
        return self

    @model_validator(mode="after")
    def _token(self) -> Self:
        if self.token is not None and not re.fullmatch(r"[\x21-\x7e]+", self.token.get_secret_value()):
            raise ValueError("token: must be printable ASCII without spaces, and not empty")
        if self.identity.user is not None and self.token is None:
            raise ValueError("identity.user: is the user of the token, so set token (PR2_TOKEN), too")
        return self

    @property
    def planning(self) -> EngineSettings:
        """Engine that writes the plans: the policy's, with the planner's own fields on top.

        A policy without a model has no planner, unless `planner` names an engine.
        """
        if not self.policy.has_model and "engine" not in self.planner:
            return self.policy
        base = self.policy.model_dump(exclude_unset=True)
        if "base_url" in self.planner:
            # Never send one server's key to another.
            base.pop("api_key", None)
        return EngineSettings.model_validate(base | self.planner)

    @property
    def database(self) -> Path:
        """SQLite file, used if no other database is named."""
        return self.data / FILE

    @property
    def url(self) -> str:
        """URL of the database."""
        return self.database_url or file_url(self.data)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)
