"""Every flag of a preset is one that OpenRLHF's command line accepts."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from training.policy import launch, preset

_NAME = re.compile(r'f?"--([\w.{}]+)"')


def known() -> set[str]:
    spec = find_spec("openrlhf.cli.train_ppo_ray")
    assert spec is not None
    assert spec.origin is not None
    found = set(_NAME.findall(Path(spec.origin).read_text("utf-8")))
    return {name.replace("{prefix}", part) for name in found for part in ("actor", "critic")}


@pytest.mark.parametrize("name", preset.names())
def test_every_flag_of_a_preset_is_one_of_openrlhfs(name: str, tmp_path: Path) -> None:
    words = launch.flags(preset.load_preset(name), tmp_path, tmp_path, "model", rows=100)
    flags = {word.removeprefix("--") for word in words if word.startswith("--")}
    assert len(flags) > 30
    assert flags <= known()
