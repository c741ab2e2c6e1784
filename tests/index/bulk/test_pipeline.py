"""An import on Ray stores the same rows as one without."""

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from index.bulk.pipeline import _as_errors
from index.bulk.users import Outcome
from index.documents import parse_document
from index.errors import StoreFull, WorkerLost
from index.profiles import Profiles
from tests.index.bulk.folders import HISTORIES, rows, target, write
from tests.index.fakes import HashEncoder

pytest.importorskip("ray", reason="Ray is not installed: pip install 'pr2[ray]'")
ROOT = Path(__file__).parents[3]


def on_ray(folder: Path, data: Path) -> dict[str, Any]:
    """The outcomes by user."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.index.bulk.on_ray", str(folder), str(data)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [Outcome(**json.loads(line)) for line in done.stdout.splitlines()]
    assert len({outcome.user for outcome in found}) == len(found)
    return {outcome.user: outcome for outcome in found}


def test_rows_are_those_of_imports_one_by_one_and_a_broken_file_stays_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "users")
    (folder / "dora.ndjson").write_text('{"id": "d1", "text": "fine"}\n{"id": "d2"}\n')
    with closing(target(tmp_path).open().store) as store:
        # Known documents keep their place, and are not encoded again.
        Profiles(store, HashEncoder()).put("ana", [parse_document(HISTORIES["ana"][1])])
    assert on_ray(folder, tmp_path) == {
        "ana": Outcome("ana", put=2, added=1, unchanged=1),
        "ben": Outcome("ben", put=40, added=40),
        "çelik": Outcome("çelik", put=2, added=2),
        "dora": Outcome("dora", error="dora.ndjson: line 2: text: Field required"),
    }
    alone = tmp_path / "alone"
    alone.mkdir()
    with closing(target(alone).open().store) as store:
        profiles = Profiles(store, HashEncoder())
        profiles.put("ana", [parse_document(HISTORIES["ana"][1])])
        for user, documents in HISTORIES.items():
            profiles.put(user, [parse_document(each) for each in documents])
    assert rows(target(tmp_path).url) == rows(target(alone).url)


def test_an_error_of_ours_in_a_task_is_raised_as_it_is_and_another_one_says_that_ray_failed() -> None:
    from ray.exceptions import RayTaskError

    with pytest.raises(StoreFull, match="no room"), _as_errors():
        raise RayTaskError("write", "Traceback", StoreFull("no room"))
    with pytest.raises(WorkerLost, match="Ray"), _as_errors():
        raise RayTaskError("write", "Traceback", ZeroDivisionError("by zero"))
