"""One question to a vision endpoint and the text of its answer. Whatever goes wrong ends as one sentence."""

from __future__ import annotations

import base64
import json
import os
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from vcd_studio import locations
from vcd_studio.project.errors import InputError
from vcd_studio.project.paths import reason
from vcd_studio.project.text import plain, quoted

if TYPE_CHECKING:
    from vcd_studio.settings import DescriberSettings

LARGEST_ANSWER = 1024 * 1024  # bytes
LOOK_EVERY = 0.1  # seconds between two looks whether the asker still wants the answer
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_REMEDIES = {
    401: "it refuses the key; check the variable that key_env names",
    403: "it refuses the key; check the variable that key_env names",
    404: "it knows no such address or model; check url and model",
    429: "it was asked too often or has no credit left; try again later",
}


class DescriberError(Exception):
    """The describer gave no answer that can be used: one sentence says why and what to do. Nothing else depends on the answer."""


class DescriberOff(InputError):
    """No describer is switched on; the sentence says how."""

    def __init__(self) -> None:
        place = plain(str(locations.settings_path()))
        super().__init__(f"The describer is off; to switch it on, write url and model under [describer] in {place}.")


def ask(settings: DescriberSettings, words: str, pictures: Sequence[bytes] = (), stopped: Callable[[], bool] = lambda: False) -> str:
    """The answer to ``words`` about ``pictures`` (the bytes of JPEG files), as text that nobody has checked yet.

    DescriberOff where none is switched on; DescriberError for every failure, after ``timeout`` seconds or once ``stopped()``. The
    request has a thread of its own, which may be left behind: the look-up of a name and a server that trickles heed no timeout, and
    whoever leaves the studio must not wait for either.
    """
    if not settings.url:
        raise DescriberOff
    key = _key(settings)
    request = _request(settings, key, words, pictures)
    where = request.host  # now: a proxy puts its own name there
    answer: Future[str] = Future()

    def post() -> None:
        try:
            answer.set_result(_post(request, where, settings.timeout, key))
        except Exception as error:  # raised again where it is waited for
            answer.set_exception(error)

    threading.Thread(target=post, name="describer", daemon=True).start()
    end = time.monotonic() + settings.timeout
    while not answer.done():
        if stopped():
            raise DescriberError("The question to the describer was given up.")
        if time.monotonic() >= end:
            raise _too_slow(where, settings.timeout)
        wait([answer], timeout=min(LOOK_EVERY, settings.timeout))
    return answer.result()


def _key(settings: DescriberSettings) -> str:
    """The key, or "" where none is wanted. ``key_env`` is repeated only where it is a name: somebody may have written the key there."""
    name = settings.key_env
    if not name:
        return ""
    if not _VARIABLE.fullmatch(name):
        raise DescriberError(
            "The describer's key_env is no name of an environment variable; write one in capitals, as OPENAI_API_KEY, never the key itself."
        )
    key = os.environ.get(name, "").strip()
    if not key:
        raise DescriberError(f"The environment variable {name} for the describer's key is not set; set it, or clear key_env.")
    if not (key.isascii() and key.isprintable()):
        raise DescriberError(f"The describer's key in the environment variable {name} has characters that no key has; set it again.")
    return key


def _request(settings: DescriberSettings, key: str, words: str, pictures: Sequence[bytes]) -> urllib.request.Request:
    if "@" in urlsplit(settings.url).netloc:
        raise DescriberError("The describer's url holds a name or a password; write it without, and give a key by key_env.")
    content: list[dict[str, object]] = [{"type": "text", "text": words}]
    for picture in pictures:
        data = base64.b64encode(picture).decode("ascii")
        content.append({"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}})
    body = {"model": settings.model, "temperature": 0, "messages": [{"role": "user", "content": content}]}
    headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "vcd-studio"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    address = settings.url.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
    return urllib.request.Request(address, json.dumps(body).encode("ascii"), headers, method="POST")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the photos and the key to a place nobody chose: it is an answer like any other refusal."""

    def redirect_request(self, *_: object) -> None:
        return None


def _post(request: urllib.request.Request, where: str, timeout: float, key: str) -> str:
    """The text of the answer; DescriberError for every failure there is."""
    try:
        try:
            with urllib.request.build_opener(_NoRedirects).open(request, timeout=timeout) as response:
                status, body = 200, _read(response.read, key)
        except HTTPError as error:
            with error:
                status, body = error.code, _read(error.read, key)
    except TimeoutError as error:
        raise _too_slow(where, timeout) from error
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, URLError) and isinstance(error.reason, TimeoutError):
            raise _too_slow(where, timeout) from error
        raise _unreachable(where, error) from error
    if len(body) > LARGEST_ANSWER:
        raise DescriberError(f"The describer at {where} answered with more than 1 MiB, which nobody asked for; check url.")
    if status != 200:
        raise _refused(where, status, body)
    return _text(where, body)


def _read(read: Callable[[int], bytes], key: str) -> bytes:
    """The body, one byte more than is allowed where it is too long, and without the key if the server echoes it."""
    body = read(LARGEST_ANSWER + 1)
    return body.replace(key.encode("ascii"), b"(key)") if key else body


def _text(where: str, body: bytes) -> str:
    """The first choice's text; some servers give it in parts."""
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DescriberError(
            f"The describer at {where} gave no whole chat completion; check url, which often ends in /v1, and try again."
        ) from error
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    if not isinstance(content, str) or not content.strip():
        raise DescriberError(f"The describer at {where} gave an empty answer; try again, or another model.")
    return content


def _refused(where: str, status: int, body: bytes) -> DescriberError:
    """With the server's own words, if it has any: "model not found" says more than a number."""
    if status in _REMEDIES:
        remedy = _REMEDIES[status]
    elif 300 <= status < 400:
        remedy = "it points to another address, which is never followed; write the right one as url"
    elif status >= 500:
        remedy = "it failed; try again later, or look into its log"
    else:
        remedy = "it does not take the question; check that the model sees pictures"
    try:
        error = json.loads(body)["error"]
        said = error["message"] if isinstance(error, dict) else error
    except (ValueError, LookupError, TypeError, RecursionError):
        said = ""
    own_words = f" (it says {quoted(said, 160)})" if isinstance(said, str) and said else ""
    return DescriberError(f"The describer at {where} answered {status}{own_words}: {remedy}.")


def _unreachable(where: str, error: Exception) -> DescriberError:
    inner = error.reason if isinstance(error, URLError) else error
    if isinstance(inner, ConnectionRefusedError):
        return DescriberError(f"The describer at {where} cannot be reached (connection refused); start it, or check url.")
    if isinstance(error, URLError) and isinstance(inner, OSError):
        return DescriberError(f"The describer at {where} cannot be reached ({reason(inner)}); check url and the network.")
    return DescriberError(f"The describer at {where} broke off, or does not speak HTTP; check url and try again.")


def _too_slow(where: str, timeout: float) -> DescriberError:
    return DescriberError(f"The describer at {where} gave no answer within {timeout:g} s; try again, or raise its timeout.")
