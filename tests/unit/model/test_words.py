"""Numbers of things, as they are told."""

from dpbuild.model.words import counted


def test_counted() -> None:
    assert [counted(number, "layer") for number in (0, 1, 2)] == ["0 layers", "1 layer", "2 layers"]
    assert [counted(number, "library", "libraries") for number in (1, 2)] == ["1 library", "2 libraries"]
