"""A real server on loopback that speaks the OpenAI chat protocol, or misbehaves as a test wants it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[[BaseHTTPRequestHandler], None]
CORGI = {"noun": "corgi", "class": "dog", "description": "A small orange dog with short legs."}
DRAFTS = ["a {subject} running in the snow", "A {subject} asleep on the beach, waves behind it", "a {subject} wearing a red hat"]


@dataclass
class Asked:
    """One request as it came."""

    path: str
    headers: Message
    body: dict[str, Any]

    @property
    def words(self) -> str:
        """The question."""
        return str(self.body["messages"][0]["content"][0]["text"])

    @property
    def pictures(self) -> list[str]:
        """The data URIs of the pictures."""
        return [part["image_url"]["url"] for part in self.body["messages"][0]["content"][1:]]


class ChatServer(ThreadingHTTPServer):
    """``behave`` answers; ``asked`` keeps the requests."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, behave: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behave = behave
        self.asked: list[Asked] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(Asked(self.path, self.headers, json.loads(body)))
        self.server.behave(self)

    def do_GET(self) -> None:
        self.server.asked.append(Asked(self.path, self.headers, {}))
        self.server.behave(self)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def serving(behave: Behaviour) -> Iterator[ChatServer]:
    """The server at work; it is gone afterwards."""
    server = ChatServer(behave)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def answering(status: int, body: bytes, kind: str = "application/json", **headers: str) -> Behaviour:
    """Answers this body, whole."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def saying(content: object) -> Behaviour:
    """Answers a chat completion with this content."""
    return answering(200, json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode())


def knowing(description: dict[str, str] = CORGI, drafts: list[str] = DRAFTS) -> Behaviour:
    """A describer in good health: answers either question."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        asked = handler.server.asked[-1]  # type: ignore[attr-defined]
        said = {"prompts": drafts} if asked.words.startswith("Write") else description
        saying(f"Here it is:\n```json\n{json.dumps(said)}\n```")(handler)

    return behave


def silent(until: threading.Event) -> Behaviour:
    """Takes the question and says nothing."""
    return lambda _: until.wait(60) and None
