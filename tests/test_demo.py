"""The demo profiles: what is promised of them, and that the default settings find their evidence."""

from pathlib import Path

import pytest

from benchmarks.locomo import check_citations, read_by_policy
from index.encoding.encoders import SentenceTransformerEncoder
from index.profiles import Profiles
from index.storage.store import Store
from server import demo


@pytest.mark.parametrize("user", demo.users())
def test_a_demo_profile_is_a_life_of_two_years_with_questions_of_both_kinds(user: str) -> None:
    documents = list(demo.documents(user))
    assert 40 <= len(documents) <= 80
    moments = sorted(document.created_at for document in documents if document.created_at)
    assert len(moments) == len(documents)
    assert (moments[-1] - moments[0]).days >= 730
    questions = [question for question in demo.questions() if question.user == user]
    assert sorted(question.searches > 1 for question in questions) == [False] * 3 + [True] * 3
    known = {document.id for document in documents}
    assert all(set(question.evidence) <= known for question in questions)


def test_the_evidence_of_the_demo_questions_is_read_and_cited_verbatim(
    minilm: SentenceTransformerEncoder, tmp_path: Path
) -> None:
    profiles = Profiles(Store(f"sqlite:///{tmp_path}/pr2.db", minilm.manifest), minilm)
    read: dict[bool, list[float]] = {True: [], False: []}
    for user in demo.users():
        profiles.put(user, demo.documents(user))
        questions = [question for question in demo.questions() if question.user == user]
        trajectories = read_by_policy(profiles, user, [question.question for question in questions], 20)
        assert check_citations(profiles, user, trajectories) > 0
        for question, trajectory in zip(questions, trajectories, strict=True):
            found = set(question.evidence) & set(trajectory.documents_read)
            read[question.searches > 1].append(len(found) / len(question.evidence))
    assert sum(read[False]) / len(read[False]) == 1.0
    assert sum(read[True]) / len(read[True]) >= 0.85
