"""Whether what clients saw of a register could have happened one operation after another.

A history is linearizable if each operation can be given a moment between its call and its return, so that every
read returns what was written last (Herlihy & Wing, "Linearizability: a correctness condition for concurrent
objects", 1990). The search is Wing & Gong's, with the states that were tried remembered (Lowe, "Testing for
linearizability", 2017). An operation whose outcome nobody knows may have happened at any moment after its call, or
not at all.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Operation:
    """A read or a write of one register.

    Attributes:
        write: whether it writes.
        value: written, or read.
        called: when it was called, by one clock of all clients.
        returned: when it returned; infinite where its outcome is not known.
    """

    write: bool
    value: Hashable
    called: float
    returned: float = math.inf


def is_linearizable(history: Sequence[Operation], first: Hashable = None) -> bool:
    """Return whether a history of one register that begins with the value `first` could have happened.

    Reads whose outcome is not known say nothing and are left out. A write whose outcome is not known matters only
    where it is read: it is tried right before such a read, of equal ones the earliest.
    """
    operations = sorted(history, key=lambda each: each.called)
    known = [number for number, each in enumerate(operations) if each.returned < math.inf]
    unknown = [number for number, each in enumerate(operations) if each.write and each.returned == math.inf]
    needed = sum(1 << number for number in known)
    tried: set[tuple[int, Hashable]] = set()
    waiting: list[tuple[int, Hashable]] = [(0, first)]
    while waiting:
        done, value = waiting.pop()
        if done & needed == needed:
            return True
        if (done, value) in tried:
            continue
        tried.add((done, value))
        left = [number for number in known if not done >> number & 1]
        end = min(operations[number].returned for number in left)  # what was called after this cannot come first
        for number in left:
            each, after = operations[number], done | 1 << number
            if each.called > end:
                continue
            if each.write or each.value == value:
                waiting.append((after, each.value))
            else:
                read = (other for other in unknown if not done >> other & 1 and operations[other].value == each.value)
                other = next(read, None)
                if other is not None and operations[other].called <= end:
                    waiting.append((after | 1 << other, each.value))
    return False
