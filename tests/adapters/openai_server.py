"""A server on loopback that speaks OpenAI's chat completions, from a script."""

from __future__ import annotations

import json
import select
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from genai_prices import Usage, calc_price
from openai import AsyncOpenAI
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

PRICED = "gpt-4o"
UNPRICED = "a-model-of-the-house"
USED = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}
"""What each answer says that it used."""

ONE_ANSWER_USD = float(
    calc_price(
        Usage(input_tokens=USED["prompt_tokens"], output_tokens=USED["completion_tokens"]),
        PRICED,
        provider_id="openai",
    ).total_price
)
"""What that costs."""


@dataclass
class Says:
    """An answer of text; streamed, it comes in these pieces."""

    pieces: tuple[str, ...]
    finish_reason = "stop"

    def message(self) -> dict[str, Any]:
        return {"role": "assistant", "content": "".join(self.pieces)}

    def deltas(self) -> Iterator[dict[str, Any]]:
        return ({"content": piece} for piece in self.pieces)


@dataclass
class Calls:
    """An answer that calls a tool."""

    tool: str
    arguments: dict[str, Any]
    finish_reason = "tool_calls"

    def message(self) -> dict[str, Any]:
        return {"role": "assistant", "content": None, "tool_calls": [self._call(0)]}

    def deltas(self) -> Iterator[dict[str, Any]]:
        yield {"tool_calls": [{"index": 0, **self._call(0)}]}

    def _call(self, number: int) -> dict[str, Any]:
        function = {"name": self.tool, "arguments": json.dumps(self.arguments)}
        return {"id": f"call_{number}", "type": "function", "function": function}


@dataclass
class Refuses:
    """An answer that is an error."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Hangs:
    """No more is sent until the client has left (or the test); in a stream, after one piece."""

    piece: str = ""


Reply = Says | Calls | Refuses | Hangs


class OpenAIServer:
    """Answers each request with the next reply of ``script``, and keeps what was asked."""

    def __init__(self) -> None:
        self.script: deque[Reply] = deque()
        self.requests: list[dict[str, Any]] = []
        self.hanging = threading.Event()
        self.left = threading.Event()
        self.closing = threading.Event()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def model(self, name: str = PRICED) -> OpenAIChatModel:
        """A model that asks this server, once each time."""
        url = f"http://127.0.0.1:{self._http.server_port}/v1"
        client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
        return OpenAIChatModel(name, provider=OpenAIProvider(openai_client=client))


class _Http(ThreadingHTTPServer):
    owner: OpenAIServer

    def handle_error(self, *_: object) -> None:
        """A client that went away is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Http

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        owner = self.server.owner
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        owner.requests.append(asked)
        reply = owner.script.popleft()
        match reply:
            case Refuses():
                self._begin(reply.status, "application/json", reply.headers)
                self.wfile.write(json.dumps({"error": {"message": "not now"}}).encode())
            case Hangs():
                if asked.get("stream"):
                    self._begin(200, "text/event-stream")
                    self._event(asked["model"], {"content": reply.piece})
                owner.hanging.set()
                while not owner.closing.is_set() and not owner.left.is_set():
                    if select.select([self.connection], [], [], 0.01)[0]:
                        owner.left.set()  # it has nothing more to say
            case _ if asked.get("stream"):
                self._begin(200, "text/event-stream")
                for delta in reply.deltas():
                    self._event(asked["model"], delta)
                self._event(asked["model"], {}, finish_reason=reply.finish_reason)
                self._event(asked["model"], None, usage=USED)
                self.wfile.write(b"data: [DONE]\n\n")
            case _:
                choice = {
                    "index": 0,
                    "message": reply.message(),
                    "finish_reason": reply.finish_reason,
                }
                whole = _completion("chat.completion", asked["model"], [choice], usage=USED)
                self._begin(200, "application/json")
                self.wfile.write(json.dumps(whole).encode())

    def _begin(self, status: int, kind: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()

    def _event(
        self,
        model: str,
        delta: dict[str, Any] | None,
        finish_reason: str | None = None,
        **more: object,
    ) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        choices = [] if delta is None else [choice]
        chunk = _completion("chat.completion.chunk", model, choices, **more)
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.flush()


def _completion(kind: str, model: str, choices: list[Any], **more: object) -> dict[str, Any]:
    head = {"id": "chat-1", "object": kind, "created": 1, "model": model}
    return {**head, "choices": choices, **more}
