"""Python's search for cycles of values that nobody needs any more."""

import gc
from typing import Final

# Values made before the young are looked through, and how often that is done before the older ones are. What a run
# makes lives to its end for the most part, and hardly any of it in cycles; looking took a tenth of a build.
_SELDOM: Final = (50_000, 20, 50)


def seldom() -> None:
    """Look less often in this process, which is one of dpbuild's own."""
    gc.set_threshold(*_SELDOM)
