"""An answer in progress."""

from collections.abc import AsyncGenerator, Sequence

from agent.driver import Event
from server.answers import AnswerRecord
from server.queue import Ticket
from server.stopping import Stop


class Answering:
    """An answer in progress: its steps as they happen and, last, its record.

    The record is durable unless it says `stored: false`, which it does if the database could not take it.

    The record always comes; its trajectory's finish reason says how the answer ended. Closing cancels the
    generation and gives back the tickets of the queue, even if nothing was read.
    """

    def __init__(
        self, answer_id: str, events: AsyncGenerator[Event | AnswerRecord, None], tickets: Sequence[Ticket]
    ) -> None:
        self.id = answer_id
        """Id under which the answer will be stored."""
        self._events = events
        self._tickets = tickets

    def __aiter__(self) -> AsyncGenerator[Event | AnswerRecord, None]:
        return self._events

    def unless(self, stop: Stop) -> "Answering":
        """This answer, whose steps raise Stopping once the grace of `stop` is over."""
        return Answering(self.id, stop.over(self._events), self._tickets)

    async def aclose(self) -> None:
        """Cancel the answer if it has not ended."""
        try:
            await self._events.aclose()
        finally:
            for ticket in self._tickets:
                ticket.leave()
