"""Precedence of the settings' sources: defaults, pr2.toml, environment, flags."""

from pathlib import Path

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
