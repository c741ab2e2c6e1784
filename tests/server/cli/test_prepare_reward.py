"""`pr2 train prepare --reward`: the settings that it writes, and the refusals before anything is written."""

import json
from pathlib import Path

import pytest

from index.encoding.encoders import SentenceTransformerEncoder
from tests.server.cli.test_evaluate import RECORDS
from tests.server.cli.test_prepare import prepare, rows_of, written
from training.policy.environment import Configuration
from training.policy.prepare import ENVIRONMENT, TRAIN
from training.policy.prlm import Weights
from training.policy.prlm_reward import PrlmSettings
from training.policy.rows import Referenced

LAMP = ("--benchmark", "lamp", "--task", 4, "--method", "prlm", "--retriever", "bm25", "--limit", 3)
WEIGHTS = "ab" * 32


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "reward"
    folder.mkdir()
    manifest = {
        "kind": "reward-model",
        "base": "bert-base-uncased",
        "base_hash": None,
        "reads_history": False,
        "negatives": "plain",
        "max_tokens": 512,
        "weights": WEIGHTS,
    }
    (folder / "pr2.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return written(tmp_path / "own.jsonl", RECORDS)


def settings_in(out: Path) -> Configuration:
    return Configuration.read(out / ENVIRONMENT)


def test_lamp_is_prepared_with_references_and_the_papers_defaults(
    model: Path, tmp_path: Path, minilm: SentenceTransformerEncoder
) -> None:
    out = tmp_path / "out"
    result = prepare(*LAMP, "--out", out, "--reward", "prlm", "--reward-model", model)
    assert result.exit_code == 0, result.output
    configuration = settings_in(out)
    assert isinstance(configuration.reward, PrlmSettings)
    assert configuration.reward.model == WEIGHTS
    assert str(configuration.reward.url) == "http://127.0.0.1:8003/"
    assert (configuration.reward.quality, configuration.reward.weights) == ("rouge", Weights(0.1, 0.1))
    assert (configuration.method, configuration.formula.name) == ("prlm", "grpo")
    assert configuration.costs.invalid == 0.0
    rows = rows_of(out / TRAIN)
    assert rows
    for row in rows:
        assert isinstance(row.question, Referenced)
        assert row.question.category == "LaMP_4"
        assert row.reference


def test_the_papers_sum_and_weights_are_options(
    model: Path, tmp_path: Path, minilm: SentenceTransformerEncoder
) -> None:
    out = tmp_path / "out"
    options = (
        "--quality",
        "rouge-sum",
        "--weight-format",
        0.2,
        "--weight-preference",
        0,
        "--formula",
        "grpo",
    )
    asked = (*LAMP, "--out", out, "--reward", "prlm", "--reward-model", model, *options)
    result = prepare(*asked, "--reward-url", "http://gpu-1:9000", "--cost-invalid", 0.3)
    assert result.exit_code == 0, result.output
    configuration = settings_in(out)
    assert isinstance(configuration.reward, PrlmSettings)
    assert (configuration.reward.quality, configuration.reward.weights) == ("rouge-sum", Weights(0.2, 0.0))
    assert (str(configuration.reward.url), configuration.costs.invalid) == ("http://gpu-1:9000/", 0.3)


def test_questions_with_rubrics_take_the_judges_score_as_quality(
    dataset: Path, model: Path, tmp_path: Path, minilm: SentenceTransformerEncoder
) -> None:
    out = tmp_path / "out"
    asked = ("--dataset", dataset, "--out", out, "--reward", "prlm", "--reward-model", model)
    result = prepare(*asked, "--quality", "rubric")
    assert result.exit_code == 0, result.output
    assert settings_in(out).reward.needs == "rubric"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--reward", "prlm"), "--reward prlm needs --reward-model"),
        (("--quality", "rouge"), "--quality: only with --reward prlm"),
        (
            ("--weight-preference", 0, "--reward-url", "http://a"),
            "--weight-preference, --reward-url: only with --reward prlm",
        ),
        (("--reward", "prlm", "--reward-model", "MODEL"), "has rubrics but no references"),
        (("--reward", "prlm", "--reward-model", "DATASETS"), "holds no reward model"),
        (("--reward", "prlm", "--reward-model", "MODEL", "--reward-url", "gpu-1:80"), "must be the URL of a"),
        (
            ("--reward", "prlm", "--reward-model", "MODEL", "--without-profile", "MODEL"),
            "not on the scale of --reward prlm",
        ),
        (("--task", 4), "--task: only with --benchmark lamp"),
    ],
)
def test_a_reward_that_does_not_fit_is_refused_before_anything_is_written(
    dataset: Path, model: Path, tmp_path: Path, options: tuple[object, ...], why: str
) -> None:
    known = {"MODEL": model, "DATASETS": tmp_path}
    given = [known.get(str(option), option) for option in options]
    refused = prepare("--dataset", dataset, "--out", tmp_path / "out", *given)
    assert refused.exit_code == 2, refused.output
    assert why in refused.stderr
    assert not (tmp_path / "out" / TRAIN).exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--task", 4), "lamp-sample-4 (LaMP_4) has references but no rubrics"),
        (("--task", 2, "--reward", "prlm"), "lamp-sample-2 (LaMP_2) has labels or ratings"),
        (("--task", 4, "--reward", "prlm", "--quality", "rubric"), "has references but no rubrics"),
        (("--task", 4, "--validation", "x.jsonl"), "--validation: for LaMP"),
        ((), "needs --task"),
    ],
)
def test_a_task_of_lamp_that_the_reward_cannot_score_is_refused(
    model: Path, tmp_path: Path, options: tuple[object, ...], why: str
) -> None:
    given = ("--reward-model", model) if "prlm" in options else ()
    refused = prepare("--benchmark", "lamp", "--out", tmp_path / "out", *options, *given)
    assert refused.exit_code == 2, refused.output
    assert why in refused.stderr
    assert not (tmp_path / "out" / TRAIN).exists()
