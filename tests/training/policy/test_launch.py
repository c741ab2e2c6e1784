import json
import re
from pathlib import Path
from typing import Any

import pytest

from agent.trajectory import Limits
from training.errors import TrainingUnavailable
from training.policy import launch
from training.policy import preset as presets
from training.policy.advantage import Formula
from training.policy.environment import Configuration
from training.policy.prepare import ENVIRONMENT, TRAIN
from training.policy.preset import InvalidPreset, load_preset, memory_needed
from training.policy.prlm_reward import PrlmSettings
from training.policy.rubric_reward import RubricSettings

PRESETS = presets.names()
PUBLISHED = {
    "rollout.n_samples_per_prompt": 4,
    "rollout.temperature": 0.7,
    "train.batch_size": 4,
    "train.num_episodes": 5,
    "train.seed": 42,
    "actor.adam.lr": 1e-6,
    "actor.lr_scheduler": "cosine_with_min_lr",
    "actor.min_lr_ratio": 0.1,
    "actor.lr_warmup_ratio": 0.1,
}
"""Of PrLM (arXiv 2508.07342)."""
GOOD = {name: load_preset(name) for name in PRESETS}


FLAT = (
    Path("training/policy/presets/tiny.toml")
    .read_text("utf-8")
    .partition("[flags.")[0]
    .replace("[size]", "flags = 3\n[size]")
)


def test_the_documented_presets_are_packaged() -> None:
    assert PRESETS == [
        "gemma-2-9b",
        "prlm-deepseek-r1-distill-qwen-1.5b",
        "prlm-qwen2.5-7b",
        "qwen2.5-7b",
        "tiny",
    ]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fits_the_machine_that_it_is_for(name: str) -> None:
    preset = GOOD[name]
    assert 1 < memory_needed(preset) < 0.9 * preset.gpus.gib
    gpus = preset.flag("actor.num_nodes") * preset.flag("actor.num_gpus_per_node")
    assert gpus == preset.gpus.count
    # OpenRLHF requires this if all share the GPUs.
    assert gpus == preset.flag("vllm.num_engines") * preset.flag("vllm.tensor_parallel_size")
    assert gpus == preset.flag("ref.num_nodes") * preset.flag("ref.num_gpus_per_node")
    samples = preset.flag("rollout.batch_size") * preset.flag("rollout.n_samples_per_prompt")
    assert preset.flag("train.batch_size") == samples
    assert samples // preset.flag("rollout.micro_batch_size") >= gpus


def test_memory_grows_with_parameters_and_length_and_falls_with_gpus() -> None:
    preset = GOOD["qwen2.5-7b"]
    size = preset.size.model_copy(update={"parameters": 2 * preset.size.parameters})
    assert memory_needed(preset.model_copy(update={"size": size})) > memory_needed(preset)
    assert memory_needed(presets.changed(preset, ["actor.num_gpus_per_node=4"])) > memory_needed(preset)
    assert memory_needed(presets.changed(preset, ["data.max_len=16384"])) > memory_needed(preset)


def test_flags_combine_the_preset_the_paths_and_the_overrides(tmp_path: Path) -> None:
    (tmp_path / "warm").mkdir()
    given = ["--actor.adam.lr=2e-6", "vllm.enable_sleep=false", "reward.clip_range=-5 5"]
    preset = presets.changed(GOOD["tiny"], given)
    words = launch.flags(preset, tmp_path / "data", tmp_path / "out", str(tmp_path / "warm"), 19)
    pairs = dict(zip(words, [*words[1:], ""], strict=True))
    assert float(pairs["--actor.adam.lr"]) == 2e-6
    assert words.count("--actor.adam.lr") == 1
    assert "--vllm.enable_sleep" not in words
    assert words[words.index("--reward.clip_range") :][1:3] == ["-5", "5"]
    assert "--ckpt.load_enable" in words
    assert pairs["--actor.model_name_or_path"] == str(tmp_path / "warm")
    assert pairs["--data.prompt_dataset"] == str(tmp_path / "data" / "train.jsonl")
    assert pairs["--eval.dataset"] == str(tmp_path / "data" / "validation.jsonl")


def test_only_whole_steps_are_trained(tmp_path: Path) -> None:
    # LaMP-QA's number of training questions: a last step of 13 instead of 16 would starve some of eight GPUs.
    words = launch.flags(GOOD["qwen2.5-7b"], tmp_path, tmp_path, "warm", 24_333)
    assert words[words.index("--data.max_samples") + 1] == "24320"
    with pytest.raises(InvalidPreset, match="a step takes 16 questions, but there are only 15"):
        launch.flags(GOOD["qwen2.5-7b"], tmp_path, tmp_path, "warm", 15)


def test_a_turn_is_capped_by_the_limits_alone() -> None:
    assert all("rollout.max_new_tokens" not in preset.flags for preset in GOOD.values())


def test_overrides_change_the_estimate() -> None:
    preset = GOOD["tiny"]
    assert memory_needed(presets.changed(preset, ["ds.adam_offload=true"])) < memory_needed(preset)
    assert memory_needed(presets.changed(preset, ["data.max_len=32768"])) > memory_needed(preset)
    assert presets.gpus(preset) == 1
    split = ["train.async_enable=true", "vllm.num_engines=3"]
    assert presets.gpus(presets.changed(preset, split)) == 4
    with pytest.raises(InvalidPreset, match="the same number, not 1 and 3"):
        presets.gpus(presets.changed(preset, split[1:]))


def test_keys_of_services_are_not_shown() -> None:
    assert launch.as_shell(["x", "--logger.wandb.key", "SECRET"], {}) == "x \\\n  --logger.wandb.key '…'"


@pytest.mark.parametrize("flag", ["actor.adam.lr", "=3", "--=3"])
def test_a_malformed_flag_is_refused(flag: str) -> None:
    with pytest.raises(InvalidPreset, match="use NAME=VALUE"):
        presets.changed(GOOD["tiny"], [flag])


def test_a_ray_job_carries_the_path_of_the_configuration(tmp_path: Path) -> None:
    variables = launch.environment(tmp_path)
    words = launch.command(["--a", "1"], "http://127.0.0.1:8265", variables)
    assert words[:5] == ["ray", "job", "submit", "--address", "http://127.0.0.1:8265"]
    assert json.loads(words[6]) == {"env_vars": variables}
    assert words[words.index("--") + 1 :] == ["python3", "-m", launch.TRAINER, "--a", "1"]


def test_a_command_can_be_pasted_into_a_shell() -> None:
    shown = launch.as_shell(["python", "-m", "x", "--name", "two words", "--yes"], {"A": "b c"})
    assert shown == "A='b c' \\\n  python -m x \\\n  --name 'two words' \\\n  --yes"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("model = 3", "own.toml, model: "),
        ("= 3", "is not valid TOML"),
        ("", "own.toml, model: Field required"),
        (FLAT, "own.toml, flags: "),
    ],
    ids=["value", "TOML", "field", "flags"],
)
def test_an_invalid_preset_is_refused_naming_the_field(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(content)
    with pytest.raises(InvalidPreset, match=says):
        load_preset(str(file))


def test_an_unknown_preset_is_refused_naming_the_known_ones() -> None:
    with pytest.raises(InvalidPreset, match=re.escape(f"neither a preset ({', '.join(PRESETS)}) nor a file")):
        load_preset("qwen")


def test_a_preset_can_be_loaded_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(Path("training/policy/presets/tiny.toml").read_text("utf-8"))
    assert load_preset(str(file)) == GOOD["tiny"]


def test_prlms_own_preset_has_the_papers_values() -> None:
    preset = GOOD["prlm-deepseek-r1-distill-qwen-1.5b"]
    assert {name: preset.flag(name) for name in PUBLISHED} == PUBLISHED
    assert preset.prepared["limits.max_tokens"] == 768
    assert preset.flag("data.max_len") >= 512 + 768
    assert (preset.prepared["reward.quality"], preset.prepared["formula.name"]) == ("rouge-sum", "grpo")
    weights = {"reward.weights.format": 0.1, "reward.weights.preference": 0.1}
    assert weights.items() <= preset.prepared.items()


@pytest.mark.parametrize("name", [name for name in PRESETS if GOOD[name].prepared])
def test_a_preset_takes_only_a_folder_that_was_prepared_for_it(name: str, tmp_path: Path) -> None:
    preset = GOOD[name]
    (tmp_path / TRAIN).write_text("{}\n" * 40)

    def job(**changed: Any) -> launch.Job:
        reward = PrlmSettings(quality=preset.prepared["reward.quality"], url="http://rm", model="fingerprint")
        fitting = {
            "method": "prlm",
            "reward": reward,
            "formula": Formula("grpo"),
            "limits": Limits(max_tokens=768),
        }
        configuration = Configuration(data=tmp_path, **(fitting | changed))
        (tmp_path / ENVIRONMENT).write_text(configuration.model_dump_json())
        return launch.make_job(tmp_path, tmp_path / "out", preset, "model", cold_start=True)

    configured = job().configuration
    assert configured["reward"]["weights"] == {"format": 0.1, "preference": 0.1}
    with pytest.raises(TrainingUnavailable, match='method is "rag", not "prlm"'):
        job(method="rag")
    with pytest.raises(TrainingUnavailable, match=r'"rubric", not "prlm"; reward\.quality is null'):
        job(reward=RubricSettings())
