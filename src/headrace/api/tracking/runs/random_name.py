"""Random names for runs and logged models created without a name: `adjective-noun-123`."""

from __future__ import annotations

import random
from typing import Final

_ADJECTIVES: Final = """
able amber apt blue bold brave brisk calm clear clever cool crisp dapper deep eager early fair
fast fine firm fleet fond free fresh glad golden grand great green happy hardy honest humble
jolly keen kind large light lively lucky mellow merry mild neat nimble noble open patient placid
plucky polite proud quick quiet rapid ready regal rich robust rosy round serene sharp shiny
silent silver sleek smart smooth snowy solid spry steady stoic strong sunny swift tidy tranquil
true upbeat vast warm wise witty young zesty
"""
_NOUNS: Final = """
badger bass bear beaver beetle bird bison boar brook calf carp cat colt cow crab crane creek
crow cub deer dog dolphin dove duck eagle eel elk falcon fawn finch fish flume foal fox frog
gate goat goose grouse gull hare hawk heron hog horse jay kit koi lamb lark lynx mare mill mink
mole moose mouse mule newt otter owl ox panda perch pike pond pony pug quail ram rat raven reed
robin rook seal shad sheep shrew skunk sluice snail sow sprat squid stag steed stoat stork swan
tern toad trout vole wasp weir whale wolf worm wren yak
"""
ADJECTIVES: Final = tuple(_ADJECTIVES.split())
NOUNS: Final = tuple(_NOUNS.split())


def random_name() -> str:
    """Return a random name of at most 20 characters."""
    return f"{random.choice(ADJECTIVES)}-{random.choice(NOUNS)}-{random.randrange(1000)}"
