"""A CLIP tokenizer whose vocabulary is the pocket world's words; any other word falls apart into letters."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import CLIPTokenizer

from vcd_studio.pocket.train.architectures import TEXT_LENGTH
from vcd_studio.pocket.world import vocabulary

END = "</w>"


def build_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write vocabulary and merges into ``folder`` and load them: each word of the world is one token."""
    letters = [chr(code) for code in range(33, 127)]
    merges: list[tuple[str, str]] = []
    tokens = letters + [letter + END for letter in letters]
    for word in vocabulary():
        pieces = [*word[:-1], word[-1] + END]
        # Byte-pair merges are applied in order of rank, so a word is grown from its end: "g</w>", "og</w>", "dog</w>".
        while len(pieces) > 1:
            pair = (pieces[-2], pieces[-1])
            pieces[-2:] = ["".join(pair)]
            if pair not in merges:
                merges.append(pair)
                tokens.append("".join(pair))
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")
    tokenizer = CLIPTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=TEXT_LENGTH, pad_token="<|endoftext|>"
    )
    tokenizer.save_pretrained(folder)
    return tokenizer
