"""The Python client of a pr2 server, with the same typed values that the service itself gives.

    with Client("http://127.0.0.1:8000") as client:
        client.put("ana", [Document(id="n1", text="Went back to green tea.")])
        print(client.ask("ana", "What should I drink?").trajectory.answer)

A server with a token takes it from `Client(url, token=…)` or the environment's PR2_TOKEN.
Every failure is one exception, ApiError, whose message says what went wrong.
"""

from server.answers import AnswerRecord, AnswerSummary, AskOptions, Feedback
from server.client.asynchronous import AsyncClient
from server.client.blocking import Client
from server.client.errors import ApiError

__all__ = ["AnswerRecord", "AnswerSummary", "ApiError", "AskOptions", "AsyncClient", "Client", "Feedback"]
