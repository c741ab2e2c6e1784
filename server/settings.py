"""One settings class. Later ones win: defaults, `pr2.toml`, environment (`PR2_…`), flags."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, HttpUrl, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from agent.trajectory import Limits

QUESTION_CHARACTERS = 8_000
"""The longest question."""


class PolicySettings(BaseModel, extra="forbid"):
    """What writes the answers."""

    engine: Literal["extractive", "openai"] = "extractive"
    base_url: HttpUrl = HttpUrl("http://127.0.0.1:8001/v1")
    """Of an OpenAI-compatible server, up to and with /v1."""
    model: str = ""
    api_key: SecretStr | None = None
    connect_timeout_s: float = Field(5.0, gt=0)
    idle_timeout_s: float = Field(30.0, gt=0)
    """The longest silence of a stream before it counts as broken."""
    retries: int = Field(3, ge=0, le=10)
    temperature: float = Field(0.0, ge=0, le=2)


class LimitSettings(BaseModel, extra="forbid"):
    """The defaults for a question; a request may ask for other values within the same bounds."""

    max_searches: int = Field(4, ge=0, le=16)
    top_k: int = Field(5, ge=1, le=100)
    max_documents: int = Field(20, ge=1, le=400)
    max_tokens: int = Field(2_048, ge=1, le=32_768)
    deadline_ms: int = Field(60_000, ge=1, le=600_000)

    def limits(self) -> Limits:
        return Limits(**self.model_dump())


class Settings(BaseSettings):
    """Everything that can be set. Nested fields in the environment: `PR2_POLICY__BASE_URL`."""

    model_config = SettingsConfigDict(
        env_prefix="PR2_", env_nested_delimiter="__", toml_file="pr2.toml", extra="forbid"
    )

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65_535)
    data: Path = Path("data")
    """The folder of the store."""
    database_url: str | None = None
    """Instead of the SQLite file in `data`."""
    encoder: str = "minilm"
    """`minilm`, `contriever`, `contriever:PATH`, or the path of a sentence-transformers model."""
    retriever: str = "hybrid"
    cache_mb: int = Field(1_024, ge=1)
    """Memory for loaded profiles."""
    upload_mb: int = Field(1_024, ge=1)
    """The largest body of one request."""
    policy: PolicySettings = PolicySettings()
    limits: LimitSettings = LimitSettings()

    @property
    def database(self) -> Path:
        """The SQLite file, where no other database is named."""
        return self.data / "pr2.db"

    @property
    def url(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.database}"

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
