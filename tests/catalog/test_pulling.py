"""Fetching from a real HTTP server that speaks the hub's protocol, and everything that can go wrong on the way."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from huggingface_hub import constants, file_download
from huggingface_hub.utils import close_session

from tests.catalog.hub import Hub, serving
from vcd_studio.catalog.digests import sha256_of
from vcd_studio.catalog.pulling import PullFailed, Shelves, fetched, pull
from vcd_studio.catalog.shipped import ShippedFile

CONTENT = bytes(range(256)) * 4000
FILE = ShippedFile("segmenter", "MobileSAM", "dhkim2810/MobileSAM", "sub/mobile_sam.pt", 1_000_000, "Apache-2.0", "masks")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """One that has the file; huggingface_hub reads its settings once, when it is imported."""
    with serving(Hub({f"{FILE.repo}/{FILE.name}": CONTENT})) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 65536)
        monkeypatch.setattr(file_download.time, "sleep", lambda _: None)  # between two tries
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        yield hub


@pytest.fixture
def shelves(tmp_path: Path) -> Shelves:
    return Shelves(tmp_path / "packs", tmp_path / "weights", [tmp_path / "ComfyUI"])


class Seen(list[tuple[int, int]]):
    def __call__(self, file: ShippedFile, done: int, total: int) -> None:
        self.append((done, total))


def gets(hub: Hub) -> list[str]:
    """The ranges that were asked for."""
    return [begin for verb, _, begin in hub.asked if verb == "GET"]


def test_a_file_is_fetched_with_its_progress_and_then_not_again(hub: Hub, shelves: Shelves) -> None:
    seen = Seen()
    assert fetched(FILE, shelves.weights) is None
    path = pull(FILE, shelves, seen)
    assert path == shelves.weights / "dhkim2810--MobileSAM" / "sub" / "mobile_sam.pt"
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["mobile_sam.pt"]
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert len(seen) > 4
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    asked = len(hub.asked)
    assert pull(FILE, shelves, seen) == path == fetched(FILE, shelves.weights)
    assert len(hub.asked) == asked


def test_a_connection_that_breaks_is_taken_up_where_it_ended(hub: Hub, shelves: Shelves) -> None:
    hub.cut = [300_000, 200_000]
    assert pull(FILE, shelves, Seen()).read_bytes() == CONTENT
    first, *later = gets(hub)
    assert first == ""
    assert len(later) == 2
    assert all(begin.startswith("bytes=") for begin in later)


def test_what_a_killed_process_left_is_kept(hub: Hub, shelves: Shelves) -> None:
    class Killed(BaseException):
        pass

    def kill(_: ShippedFile, done: int, total: int) -> None:
        if done > total // 2:
            raise Killed

    with pytest.raises(Killed):
        pull(FILE, shelves, kill)
    (part,) = (shelves.weights / "dhkim2810--MobileSAM" / "sub").iterdir()
    left = part.stat().st_size
    assert len(CONTENT) // 2 < left < len(CONTENT)
    assert pull(FILE, shelves, Seen()).read_bytes() == CONTENT
    assert gets(hub)[-1] == f"bytes={left}-"


def test_a_cut_off_body_keeps_what_came_and_says_how_to_go_on(hub: Hub, shelves: Shelves) -> None:
    hub.cut = [100_000] + [0] * 20
    with pytest.raises(PullFailed, match=r"MobileSAM \(dhkim2810/MobileSAM/sub/mobile_sam.pt\).*pull again to go on"):
        pull(FILE, shelves, Seen())
    hub.cut = []
    assert pull(FILE, shelves, Seen()).read_bytes() == CONTENT


def test_a_wrong_hash_is_thrown_away(hub: Hub, shelves: Shelves) -> None:
    hub.wrong = True
    with pytest.raises(PullFailed, match=r"came damaged from dhkim2810/MobileSAM/sub/mobile_sam\.pt.*thrown away"):
        pull(FILE, shelves, Seen())
    assert fetched(FILE, shelves.weights) is None
    hub.wrong = False
    assert pull(FILE, shelves, Seen()).read_bytes() == CONTENT
    assert gets(hub)[-1] == ""


def test_a_mirror_that_holds_something_else_is_not_asked_for_it(hub: Hub, shelves: Shelves) -> None:
    known = ShippedFile(**{**FILE.__dict__, "sha256": "0" * 64})
    with pytest.raises(PullFailed, match="is not the MobileSAM that is known here"):
        pull(known, shelves, Seen())
    assert gets(hub) == []


def test_small_files_have_gits_hash(hub: Hub, shelves: Shelves) -> None:
    hub.in_git = True
    assert pull(FILE, shelves, Seen()).read_bytes() == CONTENT
    shutil.rmtree(shelves.weights)
    hub.wrong = True
    with pytest.raises(PullFailed, match="came damaged"):
        pull(FILE, shelves, Seen())


def test_the_same_file_elsewhere_is_used_whatever_its_name(hub: Hub, shelves: Shelves, tmp_path: Path) -> None:
    folder = tmp_path / "ComfyUI" / "sams"
    folder.mkdir(parents=True)
    (folder / "a.pt").write_bytes(CONTENT[::-1])
    (folder / "my sam.pth").write_bytes(CONTENT)
    assert pull(FILE, shelves, Seen()) == folder / "my sam.pth"
    assert gets(hub) == []


def test_the_hubs_own_cache_is_used_also_offline(hub: Hub, shelves: Shelves, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "hub" / "models--dhkim2810--MobileSAM" / "snapshots" / "abc"
    (snapshot / "sub").mkdir(parents=True)
    (snapshot / FILE.name).write_bytes(CONTENT)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert pull(FILE, shelves, Seen()) == snapshot / FILE.name
    assert hub.asked == []


def test_offline_is_said(hub: Hub, shelves: Shelves, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()  # the session is made for one mode or the other
    try:
        with pytest.raises(PullFailed, match="HF_HUB_OFFLINE forbids to fetch it"):
            pull(FILE, shelves, Seen())
    finally:
        close_session()
    assert hub.asked == []


def test_a_token_goes_along(hub: Hub, shelves: Shelves, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "hf_secret"
    with pytest.raises(PullFailed, match="is not given without a token; set HF_TOKEN") as caught:
        pull(FILE, shelves, Seen())
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert pull(FILE, shelves, Seen()).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "is not there any more; .*models add"),
        (403, "accept it there, then set HF_TOKEN"),
        (500, "the server answers 500; try again later"),
    ],
)
def test_what_the_server_refuses_is_one_sentence(status: int, said: str, hub: Hub, shelves: Shelves) -> None:
    hub.status = status
    with pytest.raises(PullFailed, match=said) as caught:
        pull(FILE, shelves, Seen())
    assert "\n" not in str(caught.value)


def test_a_proxy_of_the_environment_is_asked(hub: Hub, shelves: Shelves, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://hub.invalid/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.invalid")
    monkeypatch.setenv("HTTP_PROXY", hub.url)
    close_session()
    try:
        assert pull(FILE, shelves, Seen()).read_bytes() == CONTENT
    finally:
        close_session()
    assert all(path.startswith("http://hub.invalid/") for _, path, _ in hub.asked)


def test_no_server_at_all(hub: Hub, shelves: Shelves, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}")
    with pytest.raises(PullFailed, match=r"the server cannot be reached \(ConnectError\); check the network"):
        pull(FILE, shelves, Seen())


def test_a_server_that_says_nothing_for_too_long(hub: Hub, shelves: Shelves, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.waits = threading.Event()
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.05)
    with pytest.raises(PullFailed, match=r"cannot be reached \(ReadTimeout\).*pull again to go on"):
        pull(FILE, shelves, Seen())
    hub.waits.set()
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 10)
    assert pull(FILE, shelves, Seen()).read_bytes() == CONTENT


def test_a_full_disk_is_said_before_and_on_the_way(hub: Hub, shelves: Shelves, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
        with pytest.raises(PullFailed, match=r"needs 1\.1 GB in .*, where 1\.1 GB are free"):
            pull(FILE, shelves, Seen())
    assert gets(hub) == []
    folder = shelves.weights / "dhkim2810--MobileSAM" / "sub"
    (folder / "mobile_sam.pt.part").unlink()
    (folder / "mobile_sam.pt.part").symlink_to("/dev/full")
    with pytest.raises(PullFailed, match="the disk is full; free some space"):
        pull(FILE, shelves, Seen())


def test_two_processes_do_not_fetch_the_same_file(hub: Hub, shelves: Shelves) -> None:
    def again(_: ShippedFile, done: int, total: int) -> None:
        with pytest.raises(PullFailed, match="by another process already"):
            pull(FILE, shelves, Seen())

    assert pull(FILE, shelves, again).read_bytes() == CONTENT


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert issubclass(httpx2.ReadTimeout, httpx2.HTTPError)
