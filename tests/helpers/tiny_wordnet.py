"""A WordNet of seven nouns, in the files of its dictionary."""

from pathlib import Path

# Word → the word above it.
NOUNS = {
    "entity": None,
    "furniture": "entity",
    "chair": "furniture",
    "stool": "chair",
    "table": "furniture",
    "animal": "entity",
    "goose": "animal",
}


def write_tiny_wordnet(directory: Path) -> Path:
    """Write the dictionary files without `lexnames` and `index.sense`, as Debian's package has them."""
    directory.mkdir()
    for part in ("adj", "adv", "noun", "verb"):
        for name in (f"data.{part}", f"index.{part}", f"{part}.exc"):
            (directory / name).write_text("")
    offsets: dict[str, int] = {}
    data, index = "", ""
    for word, above in NOUNS.items():
        offsets[word] = len(data)
        pointer = f"001 @ {offsets[above]:08d} n 0000" if above else "000"
        data += f"{offsets[word]:08d} 03 n 01 {word} 0 {pointer} | a {word}  \n"
        index += f"{word} n 1 0 1 0 {offsets[word]:08d}  \n"
    (directory / "data.noun").write_text(data)
    (directory / "index.noun").write_text(index)
    (directory / "noun.exc").write_text("geese goose\n")
    return directory
