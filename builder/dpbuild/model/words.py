"""How numbers of things are told."""


def counted(number: int, word: str, plural: str = "") -> str:
    """``1 layer``, ``2 layers``, ``0 libraries`` (with the plural said, where it is not by an s)."""
    return f"{number} {word if number == 1 else plural or word + 's'}"
