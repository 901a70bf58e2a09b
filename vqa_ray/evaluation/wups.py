"""WUPS: the similarity of two sets of words by their distance in WordNet.

Source: Malinowski and Fritz, "A Multi-World Approach to Question Answering about Real-World Scenes" (2014), and the
`calculate_wups.py` that DAQUAR is published with. Words are compared by Wu and Palmer's measure (1994) in NLTK.
"""

from __future__ import annotations

import functools
import io
import math
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vqa_ray.errors import RequestError

# The variable by which WordNet's own programs find their dictionary, and where Debian's package puts it.
DIRECTORY_VARIABLE = "WNSEARCHDIR"
_DEFAULT_DIRECTORY = "/usr/share/wordnet"
# The 45 lexicographer files, whose names nothing here reads.
_LEXNAMES = "".join(f"{number:02} lexname 0\n" for number in range(45))
# Below the threshold a similarity counts a tenth.
_FAR = 0.1

Similarity = Callable[[str, str], float]


class WordNet:
    """Wu-Palmer similarity of nouns, from a directory of dictionary files; it is read where it is first needed."""

    def __init__(self, directory: str | None = None) -> None:
        """Find the dictionary.

        Args:
            directory: with `data.noun` and its companions; that of WNSEARCHDIR, or Debian's, without.

        Raises:
            RequestError: NLTK is not installed, or there is no dictionary.
        """
        try:
            import nltk.corpus.reader  # noqa: F401
        except ImportError as error:
            raise RequestError("WUPS needs NLTK, which is not installed: pip install 'vqa-ray[wups]'") from error
        self.directory = directory or os.environ.get(DIRECTORY_VARIABLE) or _DEFAULT_DIRECTORY
        if not Path(self.directory, "data.noun").is_file():
            raise RequestError(
                f"WUPS needs the dictionary files of WordNet, and {self.directory} has no data.noun: set "
                f"{DIRECTORY_VARIABLE} to their directory ({_DEFAULT_DIRECTORY} with Debian's package wordnet-base)"
            )

    def __call__(self, one: str, other: str) -> float:
        """Return the greatest similarity, 0..1, of any noun senses of two words; 0 where one is no noun."""
        return _similarity(self.directory, one, other)


@functools.lru_cache(maxsize=1)
def _reader(directory: str) -> Any:
    import nltk.data
    from nltk.corpus.reader import WordNetCorpusReader

    class Nouns(WordNetCorpusReader):  # type: ignore[misc]
        """The reader without what only other languages need, and what Debian's package leaves out."""

        def map_wn(self, version: str = "wordnet") -> None:
            return None

        def open(self, file: str) -> io.StringIO:
            """Return a text whose places are those of bytes, by which the dictionary refers to its lines."""
            path = Path(directory, file)
            lacks = file == "lexnames" and not path.is_file()
            return io.StringIO(_LEXNAMES if lacks else path.read_bytes().decode("latin-1"))

    # NLTK reads below the directories of its path alone.
    if directory not in nltk.data.path:
        nltk.data.path.append(directory)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The multilingual functions are not available")
        return Nouns(directory, None)


@functools.lru_cache(maxsize=100_000)
def _similarity(directory: str, one: str, other: str) -> float:
    senses, others = (_reader(directory).synsets(word, pos="n") for word in (one, other))
    return max((a.wup_similarity(b) or 0.0 for a in senses for b in others), default=0.0)


def wups(answer: str, truth: str, threshold: float, similarity: Similarity) -> float:
    """Return the soft accuracy, 0..1, of a comma-separated answer: the lesser of how well each list covers the other.

    Args:
        answer: of the model, e.g. `chair, table`.
        truth: likewise.
        threshold: similarities below it count a tenth: 0.9 is strict, 0.0 lenient.
        similarity: of two words, 0..1.
    """
    given, true = words(answer), words(truth)

    def covered(these: Sequence[str], by: Sequence[str]) -> float:
        return math.prod(max(_measure(each, one, threshold, similarity) for one in by) for each in these)

    return min(covered(given, true), covered(true, given))


def words(answer: str) -> list[str]:
    """Return the items of a comma-separated answer."""
    return [item.strip() for item in answer.split(",")]


def _measure(one: str, other: str, threshold: float, similarity: Similarity) -> float:
    if one == other:
        return 1.0
    near = similarity(one, other)
    return near if near >= threshold else near * _FAR
