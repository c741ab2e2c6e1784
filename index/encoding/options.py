"""Options of encoders: prompts, and the server of an encoder that runs elsewhere."""

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr

from index.numbers import Integer, Number

TORCH = "torch"
"""The backend of every model: PyTorch in float32."""


class EncoderOptions(BaseModel):
    """Options of an encoder, beside its name. The setting `encoding` has those of the store's own encoder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    query_prompt: str | None = None
    """Prefix of queries, such as "query: ". By default, that of the model's own configuration."""
    document_prompt: str | None = None
    """Prefix of documents, such as "passage: ". By default, that of the model's own configuration."""
    backend: str = TORCH
    """Name of what runs the model in this process; see backends.py. Not for `openai`."""
    base_url: HttpUrl | None = None
    """For `openai`: URL of the server, including its /v1."""
    model: str = ""
    """For `openai`: the model's name at the server."""
    api_key: SecretStr | None = None
    dimensions: Integer | None = Field(None, ge=1)
    """For `openai`: length of the vectors to ask for, from a model that can shorten them."""
    tokenizer: str = ""
    """For `openai`: folder of the model's tokenizer. Without one, tokens are estimated."""
    window: Integer = Field(512, ge=16)
    """For `openai`: longest input of the model in tokens, prompt and special tokens included."""
    timeout_s: Number = Field(30.0, gt=0)
    """For `openai`: longest wait for the vectors of one batch, in seconds."""
    retries: Integer = Field(3, ge=0, le=10)
    """For `openai`: further attempts after 429, 5xx, and connections that fail."""
