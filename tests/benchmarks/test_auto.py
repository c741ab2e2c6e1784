"""The benchmark of `auto`: what it measures, without a model and without judging any time."""

from pathlib import Path

from benchmarks.auto import ONE, Way, measure, table_of
from index.profiles import Profiles
from index.storage.store import Store
from server import demo
from tests.index.fakes import HashEncoder
from tests.selector import ScriptedSelector, passages_in


async def test_every_way_answers_every_question(tmp_path: Path) -> None:
    encoder = HashEncoder()
    profiles = Profiles(Store(f"sqlite:///{tmp_path}/pr2.db", encoder.manifest), encoder)
    selectors = [ScriptedSelector("pre", lambda p, _: passages_in(p)), ScriptedSelector("post", lambda *_: 0)]
    ways = await measure(profiles, selectors, 1, demo.questions()[:3])
    asked = 3
    assert [way.name for way in ways] == [ONE, "auto, pre", "auto, post"]
    assert [len(way.answers) for way in ways] == [asked] * 3
    assert [len(way.choosing) for way in ways] == [0, asked, asked]
    assert len(selectors[0].shown) == 2 * 3 * asked
    assert table_of(ways).row_count == 3


def test_the_ratio_pairs_the_same_question() -> None:
    one, other = Way("one", (1.0, 2.0, 4.0), ()), Way("other", (3.0, 2.0, 8.0), ())
    assert other.ratio(one) == 2.0
