"""A server on loopback that speaks the hub's protocol: HEAD with size and hash, GET with ranges; and that misbehaves when told to."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """``files`` by "owner/name/file"; what was asked is in ``asked``. ``cut``: bytes after which a body breaks off, once for each entry;
    ``status``: what every request is answered with; ``wrong``: bodies whose hash is not the one that HEAD says; ``token``: needed."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut: list[int] = field(default_factory=list)
    status: int = 200
    wrong: bool = False
    token: str = ""
    in_git: bool = False
    waits: threading.Event | None = None
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    url: str = ""


def _etag(hub: Hub, content: bytes) -> str:
    if hub.in_git:
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return hashlib.sha256(content).hexdigest()


REFUSALS = {401: "RepoNotFound", 403: "GatedRepo", 404: "EntryNotFound"}


def _status(hub: Hub, handler: BaseHTTPRequestHandler, content: bytes | None) -> int:
    if hub.status != 200:
        return hub.status
    if hub.token and handler.headers.get("Authorization") != f"Bearer {hub.token}":
        return 401
    return 404 if content is None else 200


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return None

        def _content(self) -> bytes | None:
            """What is asked for; None after an answer that is none."""
            hub.asked.append((self.command, self.path, self.headers.get("Range", "")))
            path = re.sub(r"^https?://[^/]+", "", self.path)  # a proxy is asked for whole addresses
            match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/main/(.+)", path)
            content = hub.files.get(f"{match[1]}/{match[2]}") if match else None
            status = _status(hub, self, content)
            if status != 200:
                self.send_response(status)
                self.send_header("X-Error-Code", REFUSALS.get(status, ""))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return None
            return content

        def do_HEAD(self) -> None:
            if (content := self._content()) is not None:
                self.send_response(200)
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("X-Linked-Size", str(len(content)))
                self.send_header("X-Linked-ETag", f'"{_etag(hub, content)}"')
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()

        def do_GET(self) -> None:
            content = self._content()
            if content is None:
                return
            body = bytes(byte ^ 1 for byte in content) if hub.wrong else content
            begin = int(re.sub(r"\D", "", self.headers.get("Range", "0")) or 0)
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - begin))
            self.end_headers()
            if hub.waits is not None:
                hub.waits.wait(30)
            if hub.cut:
                self.wfile.write(body[begin : begin + hub.cut.pop(0)])
                self.close_connection = True
                return
            self.wfile.write(body[begin:])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        if hub.waits is not None:
            hub.waits.set()
        server.shutdown()
        server.server_close()
        thread.join()
