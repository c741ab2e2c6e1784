"""Settings of access: the names that the server answers to, the token, and who asks."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, IPvAnyNetwork
from pydantic_settings import NoDecode

from index.values import check_name
from server.access.patterns import parse_host, parse_origin


def _split(value: Any) -> Any:
    # In the environment: PR2_ALLOWED_HOSTS=pr2.example,10.0.0.5
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def _parsed_by(parse: Callable[[str], object]) -> AfterValidator:
    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


Hosts = Annotated[tuple[Annotated[str, _parsed_by(parse_host)], ...], NoDecode, BeforeValidator(_split)]
Origins = Annotated[tuple[Annotated[str, _parsed_by(parse_origin)], ...], NoDecode, BeforeValidator(_split)]


def _without_slash(text: str) -> str:
    return text.rstrip("/")


RootPath = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*/?$"), AfterValidator(_without_slash)]
PublicURL = Annotated[
    str,
    Field(pattern=r"^https?://[A-Za-z0-9.\[\]:-]+(/[A-Za-z0-9._~-]+)*/?$"),
    AfterValidator(_without_slash),
]
UserName = Annotated[str, AfterValidator(check_name)]


class IdentitySettings(BaseModel, extra="forbid"):
    """Who asks, where a request's path does not say so. Everything that names a user must agree."""

    user: UserName | None = None
    """The only user whose data the holder of the token may see."""
    header: str | None = Field(None, pattern=r"^[A-Za-z0-9-]+$")
    """Header in which a trusted program names the user, like X-OpenWebUI-User-Id."""
    trusted_addresses: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_split)] = Field(
        ("127.0.0.1", "::1"), validate_default=True
    )
    """Addresses or networks (10.0.0.0/8) from which that header is accepted; from others it is refused."""
    default_user: UserName | None = None
    """User of a request that names nobody."""
    list_users: bool = False
    """List a model pr2:USER for every user whom the caller may see, for clients that only choose a model."""

    @property
    def names_users(self) -> bool:
        """Whether a call may leave out the user."""
        return bool(self.user or self.header or self.default_user)
