"""`python -m training.word_vectors MODEL_FOLDER`: makes `words.npz`, words' meanings in figures.

MODEL_FOLDER holds `model.safetensors` and `tokenizer.json` of all-MiniLM-L6-v2 (Apache-2.0). Each
word of its vocabulary is read alone, as a sentence; of the vectors the 128 directions that tell
most are kept, in whole numbers. So a word that the recorded prompts never showed still counts for
the class of the words it is like. Only training needs this: the weights hold points, no vectors.
"""

import argparse
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import erf

Array = np.ndarray[Any, np.dtype[np.float32]]

FILE = Path(__file__).parent / "words.npz"
DIMENSIONS = 128
SPREAD = 0.141  # of a figure, beside signals that are 0 or 1: the best of .07 to .28
_LAYERS, _HEADS = 6, 12
_BEGIN, _END = "[CLS]", "[SEP]"
_A_WORD = re.compile(r"[a-zà-ÿ]{2,}")
# Words that say nothing by themselves.
_EMPTY = frozenset(
    """
    an the of in on at to and or is it its that this for as you he she we they my your me be with by
    from not if but so are was were do does did have has had will would can could should what who
    how when where why which
    """.split()  # noqa: SIM905 - read and mended as text
)


@cache
def places() -> dict[str, int]:
    """The row of each word in `figures`."""
    with np.load(FILE) as stored:
        return {
            word: row for row, word in enumerate(stored["words"].tolist()) if word not in _EMPTY
        }


@cache
def figures() -> Array:
    """What each word means: words x 128."""
    with np.load(FILE) as stored:
        found = stored["figures"].astype(np.float32)
    return found / found.std() * SPREAD


def meaning(prompts: list[frozenset[str]]) -> Array:
    """For each prompt the sum of its words' figures, over the root of how many are known."""
    known, table = places(), figures()
    found = np.zeros((len(prompts), table.shape[1]), dtype=np.float32)
    for place, words in enumerate(prompts):
        rows = [known[word] for word in sorted(words) if word in known]
        if rows:
            found[place] = table[rows].sum(axis=0) / len(rows) ** 0.5
    return found


def _tensors(file: Path) -> dict[str, Array]:
    raw = file.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    told = json.loads(raw[8 : 8 + size])
    return {
        name: np.frombuffer(raw[8 + size :][slice(*entry["data_offsets"])], np.float32).reshape(
            entry["shape"]
        )
        for name, entry in told.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }


class _Encoder:
    """The six layers of the model, for sentences of equal length."""

    def __init__(self, tensors: dict[str, Array]) -> None:
        self._tensors = tensors

    def vectors(self, ids: np.ndarray[Any, np.dtype[np.int64]]) -> Array:
        """Sentences x tokens -> sentences x 384, of length 1."""
        embeddings = self._tensors
        x = embeddings["embeddings.word_embeddings.weight"][ids]
        x = x + embeddings["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = x + embeddings["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(x, "embeddings.LayerNorm")
        for layer in range(_LAYERS):
            x = self._layer(x, f"encoder.layer.{layer}.")
        mean = x.mean(axis=1)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    def _layer(self, x: Array, name: str) -> Array:
        sentences, tokens, width = x.shape
        parted = (sentences, tokens, _HEADS, width // _HEADS)
        query, key, value = (
            self._linear(x, f"{name}attention.self.{part}").reshape(parted).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / (width // _HEADS) ** 0.5
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        seen = (shares @ value).transpose(0, 2, 1, 3).reshape(x.shape)
        x = self._norm(
            x + self._linear(seen, f"{name}attention.output.dense"),
            f"{name}attention.output.LayerNorm",
        )
        inner = self._linear(x, f"{name}intermediate.dense")
        inner = inner * 0.5 * (1 + erf(inner / 2**0.5))
        return self._norm(x + self._linear(inner, f"{name}output.dense"), f"{name}output.LayerNorm")

    def _linear(self, x: Array, name: str) -> Array:
        return x @ self._tensors[f"{name}.weight"].T + self._tensors[f"{name}.bias"]

    def _norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return centred / spread * self._tensors[f"{name}.weight"] + self._tensors[f"{name}.bias"]


def main() -> None:
    """Read the model, write the file."""
    options = argparse.ArgumentParser(prog="python -m training.word_vectors", description=__doc__)
    options.add_argument("folder", type=Path)
    folder: Path = options.parse_args().folder
    numbered = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    words = sorted(word for word in numbered if _A_WORD.fullmatch(word))
    ids = np.array([[numbered[_BEGIN], numbered[word], numbered[_END]] for word in words])
    encoder = _Encoder(_tensors(folder / "model.safetensors"))
    found = np.concatenate([encoder.vectors(some) for some in np.array_split(ids, 100)])
    found -= found.mean(axis=0)
    _, _, directions = np.linalg.svd(found, full_matrices=False)
    kept = found @ directions[:DIMENSIONS].T
    whole = np.rint(kept / np.abs(kept).max() * 127).astype(np.int8)
    np.savez_compressed(FILE, words=np.array(words), figures=whole)


if __name__ == "__main__":
    main()
