#!/usr/bin/env python3
"""Count the tokens of texts with a model folder's own tokenizer: count_tokens.py FOLDER TEXTS.json."""
import json
import pathlib
import sys

from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file(str(pathlib.Path(sys.argv[1]) / "tokenizer.json"))
texts = json.loads(pathlib.Path(sys.argv[2]).read_text())
print(sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts))
