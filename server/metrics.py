"""Metrics for Prometheus: counts and times of one service. No label holds a user, an id or their text."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.trajectory import Trajectory

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_SEARCHES = tuple(range(17))


class Metrics:
    """Counts since the start. Each service has its own registry."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._answers = Counter(
            "pr2_answers", "Answers by how they ended.", ["method", "finish_reason"], registry=registry
        )
        self._answer_s = Histogram(
            "pr2_answer_seconds",
            "Time from a question to its answer, the wait in the queue included.",
            ["method"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._step_s = Histogram(
            "pr2_step_seconds",
            "Time from the end of the step before to the end of the step.",
            ["kind"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._searches = Histogram(
            "pr2_searches_per_answer", "Searches of the policy.", buckets=_SEARCHES, registry=registry
        )
        self._tokens = Counter(
            "pr2_tokens", "Tokens that the policy read and wrote.", ["direction"], registry=registry
        )
        self._faults = Counter("pr2_policy_faults", "Failures of the policy.", ["fault"], registry=registry)
        self._unstored = Counter(
            "pr2_unstored_answers", "Answers that the database could not take.", registry=registry
        )
        self._compared = Counter(
            "pr2_compared_answers", "Answers also given without the history.", registry=registry
        )
        self._ratings = Counter("pr2_ratings", "What people said of answers.", ["rating"], registry=registry)
        self._requests = Counter(
            "pr2_http_requests", "Responses.", ["method", "route", "status"], registry=registry
        )
        self._request_s = Histogram(
            "pr2_http_request_seconds",
            "Time from a request to the end of its response.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=registry,
        )

    def gauge(self, name: str, documentation: str, value: Callable[[], float]) -> None:
        """Add a figure that is read whenever the metrics are."""
        Gauge(name, documentation, registry=self.registry).set_function(value)

    def counts(
        self, name: str, documentation: str, label: str, read: Callable[[], Mapping[str, int]]
    ) -> None:
        """Add counts that are kept elsewhere, by the values of one label."""
        self.registry.register(_Counts(name, documentation, label, read))

    def answered(self, method: str, trajectory: Trajectory, *, stored: bool, compared: bool) -> None:
        """Count an answer that has ended, however it did."""
        self._answers.labels(method, trajectory.finish_reason or "unknown").inc()
        self._answer_s.labels(method).observe(trajectory.total_ms / 1e3)
        before = 0.0
        for step in trajectory.steps:
            self._step_s.labels(step.kind).observe(max(step.at_ms - before, 0.0) / 1e3)
            before = step.at_ms
        self._searches.observe(trajectory.searches)
        self._tokens.labels("read").inc(trajectory.tokens_read)
        self._tokens.labels("written").inc(trajectory.tokens_written)
        if trajectory.fault:
            self._faults.labels(trajectory.fault).inc()
        if not stored:
            self._unstored.inc()
        if compared:
            self._compared.inc()

    def cancelled(self, method: str) -> None:
        """Count an answer whose client left before it was finished."""
        self._answers.labels(method, "cancelled").inc()

    def rated(self, rating: str) -> None:
        """Count what a person said of an answer."""
        self._ratings.labels(rating).inc()

    def responded(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a response. `route` is a template, never a path."""
        self._requests.labels(method, route, str(status)).inc()
        self._request_s.labels(method, route).observe(seconds)


class _Counts(Collector):
    def __init__(
        self, name: str, documentation: str, label: str, read: Callable[[], Mapping[str, int]]
    ) -> None:
        self._name, self._documentation, self._label, self._read = name, documentation, label, read

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._documentation, labels=[self._label])
        for value, count in self._read().items():
            family.add_metric([value], count)
        yield family
