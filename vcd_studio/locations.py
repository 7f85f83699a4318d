"""Where things lie: the XDG folders, or all of them under ``VCD_HOME`` when that is set. Nothing here makes a folder."""

from __future__ import annotations

import os
from pathlib import Path

APPLICATION = "vcd-studio"


def _under_home(kind: str) -> Path:
    chosen = os.environ.get("VCD_HOME", "").strip()
    if chosen:
        return Path(chosen).expanduser().absolute() / kind
    import platformdirs

    path: str = getattr(platformdirs, f"user_{kind}_dir")(APPLICATION, appauthor=False)
    return Path(path)


def home() -> Path:
    """The folder named by ``VCD_HOME``; without it the user's data folder."""
    chosen = os.environ.get("VCD_HOME", "").strip()
    return Path(chosen).expanduser().absolute() if chosen else data_dir()


def config_dir() -> Path:
    """Settings a person writes."""
    return _under_home("config")


def state_dir() -> Path:
    """The queue, worker leases, logs and previews."""
    return _under_home("state")


def cache_dir() -> Path:
    """What can be made again."""
    return _under_home("cache")


def data_dir() -> Path:
    """Packs, and a person's own projects."""
    return _under_home("data")


def store_path() -> Path:
    """The queue's SQLite file."""
    return state_dir() / "queue.sqlite3"


def worker_dir() -> Path:
    """Leases and logs of the workers."""
    return state_dir() / "workers"


def recent_projects_path() -> Path:
    """The list of recently opened projects, one path a line."""
    return state_dir() / "recent-projects.txt"


def settings_path() -> Path:
    """The user's settings file."""
    return config_dir() / "settings.toml"


def packs_dir() -> Path:
    """Model packs that were added on this machine."""
    return data_dir() / "packs"


def weights_dir() -> Path:
    """Weights that were fetched, by where they come from."""
    return data_dir() / "weights"


def loras_dir() -> Path:
    """A person's own LoRA, for every project."""
    return data_dir() / "loras"


def hub_cache() -> Path:
    """Where the Hugging Face libraries keep what they fetched, be it there or not."""
    return Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or "~/.cache/huggingface", "hub")).expanduser()


def default_projects_dir() -> Path:
    """Where a person's own projects go when no path is given."""
    return data_dir() / "projects"


def _shipped(kind: str) -> Path:
    package = Path(__file__).resolve().parent
    checkout = package.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / kind).is_dir():
        return checkout / kind
    return package / "_shipped" / kind


def shipped_projects() -> Path:
    """The example projects: the checkout's ``projects/``, or their copy inside an installed package."""
    return _shipped("projects")


def shipped_themes() -> Path:
    """The themes: the checkout's ``themes/``, or their copy inside an installed package."""
    return _shipped("themes")
