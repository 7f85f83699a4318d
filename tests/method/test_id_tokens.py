"""ID tokens against diffusers' textual inversion loader, and the files of other trainers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AnimateDiffPipeline
from safetensors.torch import save_file
from tiny import WIDTH, tiny_networks

from vcd_studio.method.conditioning import condition, encode, words_left_out
from vcd_studio.method.id_tokens import IdTokens, expand, install
from vcd_studio.method.protocols import MethodError, Networks


def some_tokens(count: int = 4, token: str = "<rex>", noun: str = "dog", width: int = WIDTH) -> IdTokens:
    return IdTokens(token, noun, torch.randn((count, width), generator=torch.Generator().manual_seed(7)) * 0.05)


@pytest.mark.parametrize("count", [1, 4])
def test_diffusers_loads_our_file_and_reads_the_same_prompt(tmp_path: Path, count: int) -> None:
    tokens = some_tokens(count)
    tokens.save(tmp_path / "tokens.safetensors")
    theirs = tiny_networks()
    pipe = AnimateDiffPipeline(
        vae=theirs.vae, text_encoder=theirs.text_encoder, tokenizer=theirs.tokenizer, unet=theirs.motion_unet, motion_adapter=None,
        scheduler=theirs.scheduler,
    )  # fmt: skip
    pipe.load_textual_inversion(str(tmp_path), weight_name="tokens.safetensors", token="<rex>")
    expected, negative = pipe.encode_prompt("a <rex> dog running", "cpu", 1, True, "blurry")
    networks = tiny_networks()
    ours = condition(networks, "a <rex> running", "blurry", [IdTokens.load(tmp_path / "tokens.safetensors")])
    assert torch.equal(ours.positive, expected)
    assert torch.equal(ours.negative, negative)
    assert not torch.allclose(ours.positive, encode("a dog running", networks))


def test_installing_touches_no_other_row_and_overwrites_its_own(networks: Networks) -> None:
    before = networks.text_encoder.get_input_embeddings().weight.clone()
    first = install(some_tokens(), networks.tokenizer, networks.text_encoder)
    table = networks.text_encoder.get_input_embeddings().weight
    assert torch.equal(table[: len(before)], before)
    assert torch.equal(table[first], some_tokens().embeddings)
    again = IdTokens("<rex>", "dog", torch.ones(4, WIDTH))
    assert install(again, networks.tokenizer, networks.text_encoder) == first
    table = networks.text_encoder.get_input_embeddings().weight
    assert len(table) == len(before) + 4
    assert torch.equal(table[first], again.embeddings)
    assert torch.equal(table[: len(before)], before)


def test_two_identities_in_one_prompt(networks: Networks) -> None:
    rex, tom = some_tokens(2), some_tokens(3, "<tom>", "cat")
    both = encode("a <rex> and a <tom>", networks, [rex, tom])
    assert torch.equal(both, encode("a <rex> dog and a <tom> cat", networks, [tom, rex]))


@pytest.mark.parametrize(
    ("written", "expanded"),
    [
        ("a <rex> running", "a <rex> <rex>_1 dog running"),
        ("a <rex> dog running", "a <rex> <rex>_1 dog running"),
        ("a <rex> brown Dog running", "a <rex> <rex>_1 brown Dog running"),
        ("<rex>", "<rex> <rex>_1 dog"),
        ("a <rex> and a dog", "a <rex> <rex>_1 dog and a dog"),
        ("<rex>'s ball", "<rex> <rex>_1 dog's ball"),
        ("<rex>, in the snow; <rex> dog", "<rex> <rex>_1 dog, in the snow; <rex> <rex>_1 dog"),
        ("a <rex> doggedly walking", "a <rex> <rex>_1 dog doggedly walking"),
        ("a <rexy> dog", "a <rexy> dog"),
        ("no identity", "no identity"),
    ],
)
def test_the_noun_is_kept_and_never_doubled(written: str, expanded: str) -> None:
    assert expand(written, [some_tokens(2)]) == expanded


def test_our_file_says_what_it_is_and_is_small(tmp_path: Path) -> None:
    path = tmp_path / "tokens.safetensors"
    IdTokens("<rex>", "dog", torch.randn(4, 768), {"steps": "200"}).save(path)
    loaded = IdTokens.load(path)
    assert (loaded.token, loaded.noun, loaded.metadata["steps"], loaded.names[-1]) == ("<rex>", "dog", "200", "<rex>_3")
    assert path.stat().st_size < 16 * 1024
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_other_trainers(tmp_path: Path) -> None:
    rows = torch.randn(4, WIDTH)
    torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": rows}, "name": "rex"}, tmp_path / "magic.pt")
    parameters = torch.nn.ParameterDict({"*": torch.nn.Parameter(rows)})
    torch.save({"string_to_param": parameters}, tmp_path / "dict.pt")
    torch.save({"<old>": rows[0]}, tmp_path / "learned_embeds.bin")
    save_file({"<theirs>": rows}, tmp_path / "diffusers.safetensors")
    for name, expected in (("magic.pt", rows), ("dict.pt", rows), ("learned_embeds.bin", rows[:1]), ("diffusers.safetensors", rows)):
        loaded = IdTokens.load(tmp_path / name, "<rex>", "dog")
        assert torch.equal(loaded.embeddings, expected), name
        assert not loaded.embeddings.requires_grad, name


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("boom",))


def test_bad_files_are_refused_in_one_sentence(tmp_path: Path, networks: Networks, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"\x00" * 20)
    (tmp_path / "broken.pt").write_bytes(b"not a pickle")
    torch.save({"string_to_param": {"*": Bomb()}}, tmp_path / "bomb.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    save_file({"clip_l": torch.ones(2, 8), "clip_g": torch.ones(2, 12)}, tmp_path / "sdxl.safetensors")
    names = ("broken.safetensors", "broken.pt", "bomb.pt", "list.pt", "sdxl.safetensors", "missing.safetensors", "missing.pt")
    for name in names:
        with pytest.raises(MethodError, match=name.replace(".", r"\.")):
            IdTokens.load(tmp_path / name, "<rex>", "dog")
    assert "boom" not in capsys.readouterr().out
    save_file({"x": torch.ones(2, 8)}, tmp_path / "nameless.safetensors")
    with pytest.raises(MethodError, match="noun"):
        IdTokens.load(tmp_path / "nameless.safetensors")
    with pytest.raises(MethodError, match="8 numbers wide"):
        install(some_tokens(width=8), networks.tokenizer, networks.text_encoder)


def test_a_prompt_that_is_too_long_is_counted(networks: Networks) -> None:
    assert words_left_out("a dog", networks) == 0
    assert words_left_out("a dog " * 20, networks) == 42 - 24
