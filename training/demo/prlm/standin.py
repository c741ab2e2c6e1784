"""Temporary."""
from functools import lru_cache
from statistics import fmean
from rouge_score.rouge_scorer import RougeScorer
S = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
@lru_cache(1 << 16)
def rouge(answer: str, reference: str) -> float:
    return fmean(s.fmeasure for s in S.score(reference, answer).values())
