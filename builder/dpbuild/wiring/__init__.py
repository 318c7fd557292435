"""The composition root: the only reader of the environment and of the clock.

Each module adds what stands on the one before: surroundings, network, images, world.
"""

from dpbuild.wiring.surroundings import Settings
from dpbuild.wiring.world import World

__all__ = ["Settings", "World"]
