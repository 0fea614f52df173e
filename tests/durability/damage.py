"""Damage to the bytes of a file."""

from __future__ import annotations

import random


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Flip a bit; now and then cut the file short, or exchange two pieces of it."""
    if not content:
        return content
    kind = rng.random()
    if kind < 0.8:
        at = rng.randrange(len(content))
        return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
    if kind < 0.9:
        return content[: rng.randrange(len(content))]
    size = rng.choice([16, 512, 4096])
    first, second = sorted(rng.randrange(max(1, len(content) - size)) for _ in range(2))
    second = max(second, first + size)
    pieces = content[:first], content[first : first + size], content[first + size : second], content[second:][:size]
    return pieces[0] + pieces[3] + pieces[2] + pieces[1] + content[second + size :]
