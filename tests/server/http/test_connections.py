"""Which connection yields, for any order of events."""

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response

from server.http.problems import TooManyConnections
from server.http.protocol import Connections
from server.http.settings import ConnectionSettings

LIMIT = 3


class Connection:
    def __init__(self, all_of_them: Connections) -> None:
        self.all = all_of_them
        self.is_paused = False
        self.is_busy = False
        self.ended: Exception | None = None
        self.heard_at = 0

    def end(self, error: Exception) -> None:
        assert not self.is_busy
        assert not self.is_paused
        self.ended = error
        self.all.works(cast(Any, self))


@given(st.lists(st.tuples(st.sampled_from(["open", "hear", "work", "pause", "close"]), st.integers(0, 9))))
def test_the_longest_silent_yields_and_never_one_that_works(steps: list[tuple[str, int]]) -> None:
    connections = Connections(LIMIT, ConnectionSettings(), lambda scope, error: Response())
    live: list[Connection] = []
    for now, (step, which) in enumerate(steps):
        if step == "open":
            newest = Connection(connections)
            newest.heard_at = now
            could_yield = [other for other in live if not other.is_busy and not other.is_paused]
            connections.add(cast(Any, newest))
            ended = [other for other in live if other.ended]
            if len(live) >= LIMIT and could_yield:
                assert ended == [min(could_yield, key=lambda other: other.heard_at)]
                assert isinstance(ended[0].ended, TooManyConnections)
            else:
                assert not ended
            assert not newest.ended
            # An ended connection is counted until its socket is closed.
            for other in ended:
                connections.remove(cast(Any, other))
            live = [*(other for other in live if not other.ended), newest]
        elif live:
            connection = live[which % len(live)]
            if step == "hear" and not connection.is_busy:
                connection.heard_at = now
                connections.waits(cast(Any, connection))
            elif step == "work" and (connection.is_busy or connections.has_room):
                connection.is_busy = not connection.is_busy
                connection.heard_at = now
                (connections.works if connection.is_busy else connections.waits)(cast(Any, connection))
            elif step == "pause":
                connection.is_paused = not connection.is_paused
            elif step == "close":
                live.remove(connection)
                connections.remove(cast(Any, connection))
        assert sum(connection.is_busy for connection in live) <= LIMIT
