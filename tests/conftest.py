"""Shared fixtures: the real encoder, loaded once, and profiles in an empty store."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

# Before anything that reads them is imported.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

if TYPE_CHECKING:
    from index.encoding.encoders import SentenceTransformerEncoder
    from index.profiles import Profiles
    from tests.postgresql import Cluster


# How long an example takes says how busy the machine is; Hypothesis has the same in its own profile "ci".
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if not os.environ.get("CI"):
    settings.load_profile("local")
# For `make test-fast`: the properties of `make test`, tried on fewer examples.
settings.register_profile("fast", settings.get_profile("local"), max_examples=5)

# They run in environments of their own: make test-engines, make test-openrlhf.
collect_ignore = [
    folder for folder, needs in (("engines", "vllm"), ("openrlhf", "openrlhf")) if not find_spec(needs)
]


@pytest.fixture(scope="session", autouse=True)
def one_core() -> Iterator[None]:
    """Workers of pytest-xdist share the cores: PyTorch's threads of several would spin for each other."""
    with pytest.MonkeyPatch.context() as patch:
        if "PYTEST_XDIST_WORKER" in os.environ:
            patch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
        yield


@pytest.fixture(scope="session")
def minilm() -> "SentenceTransformerEncoder":
    from index.encoding.encoders import load_trainable

    return load_trainable("minilm")


@pytest.fixture
def profiles(tmp_path: Path, minilm: "SentenceTransformerEncoder") -> "Iterator[Profiles]":
    from index.profiles import Profiles
    from index.storage.store import Store

    store = Store(f"sqlite:///{tmp_path / 'profiles.db'}", minilm.manifest)
    yield Profiles(store, minilm)
    store.close()


@pytest.fixture(scope="session")
def postgresql() -> "Iterator[Cluster]":
    """A PostgreSQL server of this process's own. Where the program is missing, its tests are skipped."""
    from tests.postgresql import Cluster, binaries

    programs = binaries()
    if programs is None:
        assert not os.environ.get("CI"), "CI has to test PostgreSQL: install it"
        pytest.skip("PostgreSQL is not installed on this machine (apt-get install postgresql)")
    cluster = Cluster(programs)
    yield cluster
    cluster.remove()


SLOW = (
    "tests/agent/engines/test_capabilities.py::test_a_server_that_fails_when_it_is_asked",
    "tests/agent/engines/test_capabilities.py::test_nonsense_where_less_is_at_stake",
    "tests/agent/engines/test_completions.py",
    "tests/agent/engines/test_controls.py::test_a_server_without_a_tokenizer",
    "tests/agent/engines/test_seq2seq.py",
    "tests/agent/policies/test_tags.py::test_a_bad_answer",
    "tests/agent/policies/test_tags.py::test_a_broken_stream",
    "tests/agent/policies/test_tags.py::test_a_check_does_not_wait",
    "tests/agent/policies/test_tags.py::test_a_server_that_is_bad_from_the_start",
    "tests/agent/policies/test_tags.py::test_a_stream_cut_at_every_byte",
    "tests/agent/policies/test_tools.py::test_a_bad_answer",
    "tests/agent/policies/test_tools.py::test_a_broken_stream",
    "tests/agent/policies/test_tools.py::test_a_check_does_not_wait",
    "tests/agent/policies/test_tools.py::test_an_answer_that_the_deadline",
    "tests/agent/test_rerankers.py",
    "tests/agent/test_selecting.py",
    "tests/agent/test_tags.py::test_a_long_text_is_read",
    "tests/agent/test_tokenizer.py",
    "tests/agent/test_tokens.py::test_a_tokenizer_that_breaks",
    "tests/agent/test_tokens.py::test_the_tokens_of_a_turn_that_a_limit",
    "tests/benchmarks",
    "tests/index/bulk",
    "tests/index/encoding/test_backends.py",
    "tests/index/encoding/test_encoders.py",
    "tests/index/encoding/test_multilingual.py",
    "tests/index/formats/test_office.py",
    "tests/index/ranking/test_vectors.py",
    "tests/index/storage",
    "tests/index/test_profiles.py::test_documents_over_the_size",
    "tests/index/test_spaces.py",
    "tests/index/test_updating.py::test_after_any_changes",
    "tests/server/access/test_browser.py",
    "tests/server/cli",
    "tests/server/http/test_auto.py",
    "tests/server/http/test_fairness.py",
    "tests/server/http/test_postgresql.py",
    "tests/server/http/test_protocol.py",
    "tests/server/http/test_scheduling.py::test_what_is_waited_in_the_queue",
    "tests/server/http/test_spaces.py",
    "tests/server/http/test_stopping.py::test_an_export_past",
    "tests/server/mcp",
    "tests/server/test_assembly.py",
    "tests/server/test_remembering.py",
    "tests/server/web",
    "tests/test_architecture.py",
    "tests/test_linear.py",
    "tests/test_readme.py",
    "tests/training/demo",
    "tests/training/evaluation/exhibits",
    "tests/training/evaluation/test_report.py",
    "tests/training/evaluation/test_report_lamp.py",
    "tests/training/evaluation/test_runs.py",
    "tests/training/evaluation/test_searching.py",
    "tests/training/evaluation/test_toy_task.py",
    "tests/training/feedback",
    "tests/training/feedback/test_collect.py",
    "tests/training/judging/test_agreement.py",
    "tests/training/judging/test_cache.py",
    "tests/training/judging/test_llm.py::test_a_judge_that_hangs",
    "tests/training/judging/test_llm.py::test_a_server_that_fails_stalls",
    "tests/training/planner",
    "tests/training/retriever",
    "tests/training/reward_model",
    "tests/training/selector",
    "tests/training/tasks/lamp",
    "tests/training/tasks/test_data.py",
    "tests/training/tasks/test_sample.py",
)
"""Tests that train, load models, count steps, read all of the code, wait for timeouts, or start processes."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out whole files of slow tests without importing them, which takes as long as many a test."""
    fast = "not slow" in config.option.markexpr
    name = collection_path.relative_to(config.rootpath).as_posix()
    return True if fast and name.startswith(SLOW) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what is in SLOW and whatever loads the real encoder through a fixture."""
    for item in items:
        if item.nodeid.startswith(SLOW) or "minilm" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
