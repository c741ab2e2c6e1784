"""A judge over HTTP without a model: an answer that cites a passage gets the best score, any other the worst.

    python -m tests.openrlhf.judge_server LOG

It prints its address, and writes the narrative of each verdict to LOG, one a line.
"""

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

MODEL = "fake-judge"
_BLOCK = r"BEGIN \w+ {0}\n(.*)\nEND \w+ {0}"


class Handler(BaseHTTPRequestHandler):
    """The two endpoints of OpenAI's API that a judge needs."""

    protocol_version = "HTTP/1.1"
    log: ClassVar[Path]

    def do_GET(self) -> None:
        self._reply({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked = body["messages"][0]["content"]
        response, situation = (
            re.search(_BLOCK.format(name), asked, re.DOTALL) for name in ("RESPONSE", "SITUATION")
        )
        assert response, asked
        if situation and situation[1]:
            with self.log.open("a") as lines:
                lines.write(situation[1] + "\n")
        verdict = json.dumps({"match_score": 2 if "[1]" in response[1] else 0})
        message = {"role": "assistant", "content": verdict}
        self._reply({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _reply(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    Handler.log = Path(sys.argv[1])
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}/v1", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
