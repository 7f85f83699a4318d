"""Fetching a shipped pack's files from the hub, by huggingface_hub and its own settings (``HF_ENDPOINT`` for a mirror, ``HF_TOKEN``,
``HF_HUB_OFFLINE``, the proxies of the environment).

A file that is on this machine already, in the hub's cache or any usual place, is not fetched again. What was broken off goes on where it
ended, also in another process (huggingface_hub's own download would begin anew), and nothing is used whose SHA-256 is not the hub's.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vcd_studio.catalog.digests import sha256_of
from vcd_studio.catalog.discovery import SUFFIXES
from vcd_studio.catalog.headers import WeightsError
from vcd_studio.catalog.packs import Pack, add_pack, find_pack, packs_in
from vcd_studio.catalog.shipped import ShippedFile, shipped_pack

SPARE = 2**30
"""Bytes left free on the disk beside what is fetched."""
SHA256 = 64
"""Hexadecimal digits."""
OnProgress = Callable[[ShippedFile, int, int], None]
"""(the file, bytes there, bytes in all); what it raises ends the download, which may go on later."""


class PullFailed(WeightsError):
    """A file could not be fetched; the sentence says why and what to do."""


@dataclass(frozen=True)
class Published:
    """What the hub says of a file: where it comes from, its size in bytes and its hash: SHA-256, of small files git's own."""

    url: str
    size: int
    etag: str

    def is_in(self, path: Path) -> bool:
        """Whether ``path`` holds this very file."""
        if path.stat().st_size != self.size:
            return False
        if len(self.etag) == SHA256:
            return sha256_of(path) == self.etag
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == self.etag


@dataclass(frozen=True)
class Shelves:
    """Where packs lie, where fetched weights go, and where else on this machine the same files may lie already."""

    packs: Path
    weights: Path
    places: Sequence[Path] = ()


def pull_pack(name: str, motion: str, shelves: Shelves, on_progress: OnProgress, *, small: bool = False) -> Pack:
    """The shipped pack ``name``, every file of it fetched that is not here yet, and before it the pack that it trains on.

    Raises :class:`PullFailed`, or :class:`WeightsError` where what came is not what it should be.
    """
    pack = shipped_pack(name, motion, small=small)
    if pack.name in packs_in(shelves.packs):
        return find_pack(pack.name, shelves.packs)
    if pack.trains_on:
        pull_pack(pack.trains_on, "", shelves, on_progress, small=small)
    paths = [pull(file, shelves, on_progress) for file in pack.files]
    return add_pack(
        shelves.packs, pack.name, paths, pack.description,
        trains_on=pack.trains_on, defaults=pack.defaults, lora_strength=pack.lora_strength,
    )  # fmt: skip


def pull(file: ShippedFile, shelves: Shelves, on_progress: OnProgress) -> Path:
    """Where ``file`` is on this machine, fetched if it has to be.

    Raises :class:`PullFailed`.
    """
    if (here := fetched(file, shelves.weights)) is not None:
        return here
    target = _target(file, shelves.weights)
    with _told(file):
        published = _published(file)
        if (found := _elsewhere(published, shelves.places)) is not None:
            return found
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        with part.open("ab") as out:
            _alone(out, file)
            _fetch(file, published, part, out, on_progress)
            part.replace(target)
    return target


def _target(file: ShippedFile, weights_dir: Path) -> Path:
    return weights_dir / file.repo.replace("/", "--") / file.name


def fetched(file: ShippedFile, weights_dir: Path) -> Path | None:
    """Where the file is, fetched by us or by anybody through the hub's cache; None where it is not."""
    from huggingface_hub import try_to_load_from_cache

    if (target := _target(file, weights_dir)).is_file():
        return target
    found = try_to_load_from_cache(file.repo, file.name)
    return Path(found) if isinstance(found, str) else None


def _published(file: ShippedFile) -> Published:
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url

    url = hf_hub_url(file.repo, file.name)
    said = get_hf_file_metadata(url, token=get_token())
    if said.size is None or not said.etag:
        raise PullFailed(f"{url} says neither size nor hash: what answers there is no hub; check HF_ENDPOINT.")
    if file.sha256 and said.etag != file.sha256:
        raise PullFailed(f"{url} is not the {file.title} that is known here (its hash is {said.etag[:12]}…, not {file.sha256[:12]}…).")
    return Published(url, said.size, said.etag)


def _elsewhere(published: Published, places: Sequence[Path]) -> Path | None:
    """The very same file under whatever name."""
    candidates = (path for place in places for path in sorted(place.rglob("*")) if path.suffix in SUFFIXES and path.is_file())
    return next((path for path in candidates if published.is_in(path)), None)


def _fetch(file: ShippedFile, published: Published, part: Path, out: IO[bytes], on_progress: OnProgress) -> None:
    from huggingface_hub import get_token
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils.tqdm import disable_progress_bars

    there = part.stat().st_size
    if there > published.size:  # of another version of the file
        out.truncate(0)
        there = 0
    free = shutil.disk_usage(part.parent).free
    if published.size - there + SPARE > free:
        raise PullFailed(_no_room(file, part.parent, published.size - there + SPARE, free))
    disable_progress_bars()
    on_progress(file, there, published.size)
    counted = _Counted(out, lambda done: on_progress(file, done, published.size))
    headers = {"authorization": f"Bearer {token}"} if (token := get_token()) else {}
    http_get(published.url, counted, resume_size=there, headers=headers, expected_size=published.size)  # type: ignore[arg-type]
    out.flush()
    if not published.is_in(part):
        out.truncate(0)
        raise PullFailed(
            f"{file.title} came damaged from {file.repo}/{file.name} (its hash is not {published.etag[:12]}…) and was thrown away; "
            "pull again, or use another mirror."
        )


class _Counted:
    """A file that tells how much is in it whenever something is written."""

    def __init__(self, file: IO[bytes], on_written: Callable[[int], None]) -> None:
        self._file, self._on_written = file, on_written

    def write(self, data: bytes) -> int:
        count = self._file.write(data)
        self._on_written(self._file.tell())
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _alone(out: IO[bytes], file: ShippedFile) -> None:
    """One process a file: the other one's bytes must not come between."""
    try:
        fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise PullFailed(f"{file.title} is being fetched by another process already; wait for it.") from error


@contextmanager
def _told(file: ShippedFile) -> Iterator[None]:
    """What may go wrong on the way, each as one sentence with its remedy."""
    import httpx2
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
    )

    what = f"{file.title} ({file.repo}/{file.name})"
    again = "pull again to go on where it ended"
    try:
        yield
    except PullFailed:
        raise
    except OfflineModeIsEnabled as error:
        remedy = "unset it, or put the file there"
        raise PullFailed(f"{what} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it; {remedy}.") from error
    except GatedRepoError as error:
        raise PullFailed(f"{what} is given only to those who accept its licence on the hub: accept it there, then set HF_TOKEN.") from error
    except (RemoteEntryNotFoundError, RepositoryNotFoundError) as error:
        refused = getattr(error.response, "status_code", 404) == 401
        remedy = "set HF_TOKEN to a token of yours" if refused else "look for it under another name, then: models add"
        raise PullFailed(f"{what} is {'not given without a token' if refused else 'not there any more'}; {remedy}.") from error
    except HfHubHTTPError as error:
        raise PullFailed(f"{what}: the server answers {error.response.status_code}; try again later, or use another mirror.") from error
    except httpx2.HTTPError as error:
        raise PullFailed(f"{what}: the server cannot be reached ({type(error).__name__}); check the network, then {again}.") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PullFailed(f"{what}: the disk is full; free some space, then {again}.") from error
        if error.errno is None:  # huggingface_hub's own, for a body that is shorter than was said
            raise PullFailed(f"{what} was cut off on the way; {again}.") from error
        raise PullFailed(f"{what}: {error.filename or 'the file'} cannot be written ({error.strerror}).") from error


def _no_room(file: ShippedFile, folder: Path, needed: int, free: int) -> str:
    return f"{file.title} needs {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free; free some space, then pull again."
