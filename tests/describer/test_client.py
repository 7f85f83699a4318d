"""What is sent, and that every way in which a server can fail ends as one sentence, in time."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler

import pytest

from tests.describer.chat_server import Behaviour, answering, saying, serving, silent
from vcd_studio.describer.client import LARGEST_ANSWER, DescriberError, DescriberOff, ask
from vcd_studio.project.text import plain
from vcd_studio.settings import DescriberSettings

KEY = "sk-secret-4711"


def failure(settings: DescriberSettings) -> str:
    """What the describer complains of: one line that can be shown as it is."""
    with pytest.raises(DescriberError) as failed:
        ask(settings, "What is it?")
    sentence = str(failed.value)
    assert sentence == plain(sentence)
    assert KEY not in sentence
    return sentence


def test_the_question_as_the_protocol_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PET_KEY", f"{KEY}\n")
    with serving(saying("a dog")) as server:
        for url in (server.url, f"{server.url}/", f"{server.url}/chat/completions"):
            assert ask(DescriberSettings(url=url, model="eye", key_env="PET_KEY"), "What is it?", [b"one", b"two"]) == "a dog"
        asked = server.asked[0]
    assert {one.path for one in server.asked} == {"/v1/chat/completions"}
    assert (asked.body["model"], asked.body["temperature"], asked.words) == ("eye", 0, "What is it?")
    assert asked.pictures == ["data:image/jpeg;base64,b25l", "data:image/jpeg;base64,dHdv"]
    assert asked.headers["Authorization"] == f"Bearer {KEY}"


def test_no_key_no_header_and_an_answer_in_parts() -> None:
    parts = [{"type": "text", "text": "a "}, {"type": "refusal"}, {"type": "text", "text": "dog"}]
    with serving(saying(parts)) as server:
        assert ask(DescriberSettings(url=server.url), "What is it?") == "a dog"
    assert server.asked[0].headers["Authorization"] is None


def test_off_says_how_to_switch_it_on() -> None:
    with pytest.raises(DescriberOff, match=r"url and model under \[describer\] in .*settings\.toml"):
        ask(DescriberSettings(), "What is it?")


@pytest.mark.parametrize(
    ("behave", "told"),
    [
        (answering(401, b"{}"), "401: it refuses the key; check the variable that key_env names"),
        (answering(404, b'{"error": {"message": "no model eye"}}'), 'answered 404 (it says "no model eye"): it knows no such'),
        (answering(400, b'{"error": "no \\u001b[31mpictures\\n"}'), 'it says "no \u241b[31mpictures\u240a"'),
        (answering(429, b"slow down"), "429: it was asked too often"),
        (answering(500, b"[" * 100_000), "500: it failed"),
        (answering(502, b"<html>Bad gateway</html>", "text/html"), "502: it failed"),
        (answering(200, b"<html>Welcome</html>", "text/html"), "no whole chat completion; check url"),
        (answering(200, b""), "no whole chat completion"),
        (answering(200, b"\xff\xfe{"), "no whole chat completion"),
        (answering(200, b"[" * 100_000), "no whole chat completion"),
        (answering(200, b'{"object": "list"}'), "no whole chat completion"),
        (answering(200, b'{"choices": []}'), "no whole chat completion"),
        (answering(200, b'{"choices": {"0": 1}}'), "no whole chat completion"),
        (saying(None), "empty answer"),
        (saying(" \n"), "empty answer"),
        (saying([{"type": "refusal", "refusal": "no"}]), "empty answer"),
        (answering(200, b" " * (LARGEST_ANSWER + 1)), "more than 1 MiB"),
    ],
)  # fmt: skip
def test_a_server_that_misbehaves(behave: Behaviour, told: str) -> None:
    with serving(behave) as server:
        sentence = failure(DescriberSettings(url=server.url, model="eye"))
    assert f"The describer at 127.0.0.1:{server.server_port} " in sentence
    assert told in sentence


def half(handler: BaseHTTPRequestHandler) -> None:
    """Promises more than it sends."""
    handler.send_response(200)
    handler.send_header("Content-Length", "500")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"message": {"content": "a d')


def half_a_chunk(handler: BaseHTTPRequestHandler) -> None:
    """Breaks off inside a chunk."""
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b'40\r\n{"choices": [')
    handler.close_connection = True


def nothing(handler: BaseHTTPRequestHandler) -> None:
    """Hangs up."""


def no_http(handler: BaseHTTPRequestHandler) -> None:
    """Another protocol altogether."""
    handler.wfile.write(b"220 mail ready\r\n")


@pytest.mark.parametrize("behave", [half, half_a_chunk, nothing, no_http])
def test_a_connection_that_breaks(behave: Behaviour) -> None:
    with serving(behave) as server:
        sentence = failure(DescriberSettings(url=server.url))
    assert "no whole chat completion" in sentence or "broke off, or does not speak HTTP" in sentence


def test_nobody_there_and_no_such_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "connection refused); start it" in failure(DescriberSettings(url=f"http://127.0.0.1:{port}/v1"))
    assert "cannot be reached" in failure(DescriberSettings(url="http://describer.invalid/v1"))


def test_too_slow_and_given_up() -> None:
    end = threading.Event()
    with serving(silent(end)) as server:
        assert "no answer within 0.2 s" in failure(DescriberSettings(url=server.url, timeout=0.2))
        with pytest.raises(DescriberError, match="given up"):
            ask(DescriberSettings(url=server.url), "What is it?", stopped=lambda: len(server.asked) == 2)
        end.set()


def test_a_server_that_trickles_is_too_slow_too() -> None:
    end = threading.Event()

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not end.wait(0.02):
            handler.wfile.write(b" ")

    with serving(trickle) as server:
        assert "no answer within 0.3 s" in failure(DescriberSettings(url=server.url, timeout=0.3))
        end.set()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PET_KEY", KEY)
    with serving(saying("mine now")) as other, serving(answering(status, b"", Location=f"{other.url}/chat/completions")) as server:
        sentence = failure(DescriberSettings(url=server.url, key_env="PET_KEY"))
    assert f"{status}: it points to another address, which is never followed" in sentence
    assert other.asked == []


def test_a_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answering(400, json.dumps({"error": f"bad key {KEY}"}).encode())) as server:
        assert KEY not in failure(DescriberSettings(url=server.url, key_env=KEY))  # written there by mistake
        assert "PET_KEY" in failure(DescriberSettings(url=server.url, key_env="PET_KEY"))  # not set
        monkeypatch.setenv("PET_KEY", f"{KEY}\r\nX-Other: 1")
        assert "characters that no key has" in failure(DescriberSettings(url=server.url, key_env="PET_KEY"))
        assert "geheim" not in failure(DescriberSettings(url=server.url.replace("127", "me:geheim@127")))
        assert server.asked == []
        monkeypatch.setenv("PET_KEY", KEY)
        assert 'it says "bad key (key)"' in failure(DescriberSettings(url=server.url, key_env="PET_KEY"))
    with serving(saying(f"your key is {KEY}")) as server:
        assert ask(DescriberSettings(url=server.url, key_env="PET_KEY"), "What is it?") == "your key is (key)"
