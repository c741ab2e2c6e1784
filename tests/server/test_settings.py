"""Precedence of the settings' sources: defaults, pr2.toml, environment, flags."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from server.cli.options import flags
from server.settings import QuestionLimits, Settings

FILE = """
port = 2
cache_mb = 2
upload_mb = 2
[policy]
temperature = 0.2
model = "file"
protocol = "tools"
engine = "openai"
"""


def test_flags_win_over_the_environment_and_that_over_the_file_and_that_over_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    default = Settings()
    Path("pr2.toml").write_text(FILE)
    monkeypatch.setenv("PR2_PORT", "3")
    monkeypatch.setenv("PR2_CACHE_MB", "3")
    monkeypatch.setenv("PR2_POLICY__MODEL", "environment")
    monkeypatch.setenv("PR2_POLICY__PROTOCOL", "json")
    settings = Settings(**flags(port=4, protocol="tags", model=None))
    assert (settings.port, settings.cache_mb, settings.upload_mb) == (4, 3, 2)
    assert settings.host == default.host
    # Nested fields are merged one by one.
    policy = settings.policy
    assert (policy.protocol, policy.model, policy.engine) == ("tags", "environment", "openai")
    assert (policy.temperature, policy.retries) == (0.2, default.policy.retries)


def test_a_question_sets_only_the_limits_that_it_names() -> None:
    defaults = QuestionLimits(top_k=7)
    limits = defaults.limits({"max_tokens": 5})
    assert (limits.top_k, limits.max_tokens) == (7, 5)
    assert defaults.limits().max_tokens == defaults.max_tokens
    for wrong in ({"top_k": 0}, {"speed": 1}):
        with pytest.raises(ValidationError):
            defaults.limits(wrong)


def test_hosts_origins_and_identity_come_from_the_environment_and_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "http://localhost:*" in Settings().allowed_origins
    Path("pr2.toml").write_text('allowed_hosts = ["pr2.example"]\n[identity]\ndefault_user = "ana"\n')
    monkeypatch.setenv("PR2_ALLOWED_ORIGINS", "app://obsidian.md, vscode-webview://*")
    monkeypatch.setenv("PR2_TOKEN", "secret")
    monkeypatch.setenv("PR2_IDENTITY__HEADER", "X-User")
    monkeypatch.setenv("PR2_IDENTITY__TRUSTED_ADDRESSES", "10.0.0.0/8,::1")
    settings = Settings()
    assert settings.allowed_hosts == ("pr2.example",)
    assert settings.allowed_origins == ("app://obsidian.md", "vscode-webview://*")
    assert "secret" not in repr(settings)
    identity = settings.identity
    assert (identity.default_user, identity.header) == ("ana", "X-User")
    assert [str(network) for network in identity.trusted_addresses] == ["10.0.0.0/8", "::1/128"]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"allowed_hosts": ["http://pr2.example"]}, "is not a host"),
        ({"allowed_origins": ["pr2.example"]}, "is not an origin"),
        ({"token": ""}, "printable ASCII"),
        ({"token": "two words"}, "printable ASCII"),
        ({"identity": {"user": "ana"}}, "set token"),
        ({"identity": {"default_user": "a\nb"}}, "cannot be an id"),
        ({"identity": {"header": "X User"}}, "header"),
        ({"identity": {"trusted_addresses": ["nowhere"]}}, "trusted_addresses"),
        ({"root_path": "pr2"}, "root_path"),
        ({"root_path": "/pr2/../x?"}, "root_path"),
        ({"root_path": "//pr2"}, "root_path"),
        ({"public_url": "pr2.example"}, "public_url"),
        ({"public_url": "ftp://pr2.example"}, "public_url"),
        ({"public_url": "https://user@pr2.example"}, "public_url"),
        ({"public_url": "https://pr2.example/?x=1"}, "public_url"),
    ],
)
def test_faulty_access_settings_are_refused(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        Settings(**given)


@pytest.mark.parametrize(
    ("root_path", "public_url"),
    [
        ("/pr2", "https://pr2.example/pr2"),
        ("/pr2/", "https://pr2.example/pr2/"),
        ("/a/b~c_1.2-3", "http://[::1]:8000"),
        ("/", "http://localhost:8000/"),
        ("", None),
    ],
)
def test_a_prefix_and_a_public_url_have_no_slash_at_the_end(root_path: str, public_url: str | None) -> None:
    settings = Settings(root_path=root_path, public_url=public_url)
    assert settings.root_path == root_path.rstrip("/")
    assert settings.public_url == (public_url and public_url.rstrip("/"))


def test_spaces_are_merged_by_name_and_each_needs_an_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings().spaces == {}
    Path("pr2.toml").write_text('[spaces]\na = "file"\nb = "file"\n')
    monkeypatch.setenv("PR2_SPACES", '{"c": "environment"}')
    settings = Settings(**flags(space=["b=./x=y", "ropg-kd=minilm"]))
    assert settings.spaces == {"a": "file", "b": "./x=y", "c": "environment", "ropg-kd": "minilm"}
    with pytest.raises(ValidationError, match="spaces: 'd' has to be NAME=ENCODER"):
        Settings(spaces={"d": ""})
    with pytest.raises(ValidationError, match="none can be named auto"):
        Settings(spaces={"auto": "minilm"})
