"""The user's own settings: ``settings.toml`` in the config folder, and ``VCD_*`` variables over it."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from vcd_studio import locations
from vcd_studio.project.errors import ProjectError
from vcd_studio.project.text import quoted
from vcd_studio.project.toml_file import explain, read_toml

Graphics = Literal["auto", "sixel", "kitty", "halfcell", "off"]
Precision = Literal["auto", "fp16", "bf16", "fp32"]
"""Of clips; auto is fp16 on a card and fp32 on the CPU. What learns is in fp32 everywhere."""
OptionName = Annotated[str, Field(pattern=r"^[a-z][a-z-]*$")]
OneLine = Annotated[str, Field(pattern=r"^[^\n\r]*$")]
PREFIX = "VCD_"


class SettingsError(ProjectError):
    """The settings file, or a VCD_* variable, is not right."""


class DescriberSettings(BaseModel):
    """``[describer]``: a vision endpoint that speaks the OpenAI chat protocol, at ``url``/chat/completions; without ``url`` it is off.

    ``key_env`` is the name of the environment variable that holds the key, never the key; ``timeout`` is in seconds; ``photos`` is
    how many are sent at most.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    url: str = ""
    model: str = ""
    key_env: str = ""
    timeout: Annotated[float, Field(strict=True, gt=0, le=3600)] = 60.0
    photos: Annotated[int, Field(strict=True, ge=1, le=16)] = 3

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        address = urlsplit(url)
        if url and not (re.fullmatch(r"https?://[!-~]+", url) and address.hostname):
            raise ValueError("write an address that begins with http:// or https://, or nothing")
        _ = address.port  # ValueError for one that is no port
        return url


class ClusterSettings(BaseModel):
    """``[cluster]``: jobs that are handed to Slurm, through ``folder``, which this machine and the nodes share; without it none are.

    Of each job: ``minutes`` until Slurm takes its node away (it is then put back into Slurm's line, and goes on), ``gpus`` (0: the CPU),
    ``cpus``, ``memory`` in GB (0: what the site gives), ``partition``, further ``options`` of sbatch by name, and ``setup``: shell lines
    that come first. ``at_once`` is how many jobs Slurm may have of us.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    folder: str = ""
    partition: Annotated[str, Field(pattern=r"^[\w,.-]*$", description="the name of a partition, or several with commas")] = ""
    minutes: Annotated[int, Field(strict=True, ge=5)] = 240
    gpus: Annotated[int, Field(strict=True, ge=0, le=1)] = 1
    cpus: Annotated[int, Field(strict=True, ge=1)] = 4
    memory: Annotated[int, Field(strict=True, ge=0)] = 0
    at_once: Annotated[int, Field(strict=True, ge=1)] = 50
    options: dict[OptionName, OneLine] = Field(default_factory=dict)
    setup: tuple[str, ...] = ()

    @field_validator("folder")
    @classmethod
    def _is_one_place(cls, folder: str) -> str:
        if folder and not folder.startswith("/"):
            raise ValueError("write the whole path, from / on, or nothing")
        return folder


class SettingsFile(BaseModel):
    """What settings.toml may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    graphics: Graphics = "auto"
    theme: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_ -]{0,63}$", description="the name of a theme, as dark")] = "dark"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$", description="auto, cpu, cuda or a card, as cuda:1")] = "auto"
    precision: Precision = "auto"
    keymap: dict[str, str] = Field(default_factory=dict)
    describer: DescriberSettings = DescriberSettings()
    cluster: ClusterSettings = ClusterSettings()


class Settings(BaseSettings, SettingsFile):
    """The settings in force; ``keymap`` maps binding ids to keys."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix=PREFIX)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=locations.settings_path())


def load_settings() -> Settings:
    """Variables over the file over the defaults; SettingsError names the file and line, or the variable, that is wrong."""
    path = locations.settings_path()
    if path.exists():
        try:
            read_toml(path, SettingsFile)
        except ProjectError as error:
            raise SettingsError(error.message, error.file, error.line) from error
    try:
        return Settings()
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        variable = PREFIX + str(item["loc"][0]).upper()
        message = explain(item["type"], item["msg"], tuple(item["loc"]), item["input"], SettingsFile)
        raise SettingsError(f"In the environment variable {variable}, {message}") from error
    except ValueError as error:  # pydantic-settings' own error for JSON that cannot be read
        named = re.search(r'field "(\w+)"', str(error))
        variable = PREFIX + (named.group(1).upper() if named else "*")
        raise SettingsError(f"{variable} cannot be read; write it as JSON, for example {quoted('{}')}.") from error
