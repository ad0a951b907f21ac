"""Writes a small tokenizer into a folder, offline and always the same.

A harness makes prompts and counts tokens with a tokenizer, which it usually fetches from a model hub. An audit needs none that is
good, only one that counts as the scripted server does: a token is a word between white space. Made-up words are there to make
prompts of; every other word is the unknown one, and still one token.

    python make_tokenizer.py FOLDER        (needs the package `tokenizers`)
"""

import json
import pathlib
import sys

from tokenizers import Tokenizer, models, pre_tokenizers

SPECIAL = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}


def words():
    """Two made-up syllables each: 80 * 80 words."""
    syllables = [first + vowel for first in "bcdfghjklmnprstv" for vowel in "aeiou"]
    return [one + two for one in syllables for two in syllables]


def write(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: index for index, token in enumerate([*SPECIAL.values(), *words()])}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=SPECIAL["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(list(SPECIAL.values()))
    tokenizer.save(str(folder / "tokenizer.json"))
    write(folder / "special_tokens_map.json", SPECIAL)
    write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "model_max_length": 131072,
            "chat_template": "{% for m in messages %}{{ m['content'] }} {% endfor %}",
            **SPECIAL,
        },
    )
    # Some harnesses look for the shape of a model before they read its tokenizer.
    write(
        folder / "config.json",
        {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": len(vocabulary)},
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("give the folder to write to")
    main(pathlib.Path(sys.argv[1]))
