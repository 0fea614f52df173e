"""A configuration in JSON, read value by value: what is not of the kind that it must be is named by file and key."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard, TypeVar

from exemplar_trainer.bundles.folders.pictures import Triple

Choice = TypeVar("Choice")

# No network takes less; what is larger is no number of pixels.
_SIDES = range(8, 4097)


class ModelFolderError(ValueError):
    """A model's folder that cannot be served; the message names the file and says what it needs."""


class Settings:
    """The values of a JSON file, or of an object within it; a value of null is as if it were absent."""

    def __init__(self, file: Path, values: Mapping[str, object], within: str = "") -> None:
        """Take values as they were read.

        Args:
            file: where they are from, for messages.
            values: of one object.
            within: the keys that lead to it, each followed by a dot.
        """
        self.file = file
        self._values = values
        self._within = within

    @classmethod
    def read(cls, file: Path) -> Settings:
        """Read a file.

        Raises:
            ModelFolderError: it is no JSON, or no object.
            OSError: it cannot be read.
        """
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ModelFolderError(f"{file} is damaged, it is no JSON: {error}; download it again") from error
        if not isinstance(values, dict):
            raise ModelFolderError(f"{file} must hold an object, {{...}}; download it again")
        return cls(file, values)

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def present(self) -> list[str]:
        """Return the keys that have a value."""
        return [key for key in self._values if key in self]

    def value(self, key: str) -> object:
        """Return a value of any kind."""
        return self._values.get(key)

    def error(self, key: str, needs: str) -> ModelFolderError:
        """Make the error for a key: `needs` goes on after "it must be"."""
        found = f"is {json.dumps(self._values[key])}" if key in self else "is missing"
        return ModelFolderError(f"{self.file}: {self._within}{key} {found}; it must be {needs}")

    def inner(self, key: str) -> Settings | None:
        """Return the object under a key; None: there is none."""
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.error(key, "an object, {...}")
        return Settings(self.file, value, f"{self._within}{key}.")

    def flag(self, key: str, default: bool) -> bool:
        """Return a value of true or false."""
        value = self._values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(key, "true or false")
        return value

    def text(self, key: str, default: str = "") -> str:
        """Return a string; where it is empty, the default."""
        value = self._values.get(key)
        if value is not None and not isinstance(value, str):
            raise self.error(key, "a string")
        return value or default

    def choice(self, key: str, choices: Mapping[str, Choice], default: str) -> Choice:
        """Return what a string stands for, which must be a key of `choices`."""
        value = self.text(key, default)
        if value not in choices:
            raise self.error(key, f"one of {', '.join(choices)}")
        return choices[value]

    def number(self, key: str, default: float, above: float = 0.0) -> float:
        """Return a finite number that is larger than `above`."""
        value = self._values.get(key)
        if value is None:
            return default
        if not _is_number(value) or value <= above:
            raise self.error(key, f"a number above {above:g}")
        return float(value)

    def integer(self, key: str) -> int | None:
        """Return a whole number; None: there is none."""
        value = self._values.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise self.error(key, "a whole number")
        return value

    def side(self, key: str) -> int:
        """Return a number of pixels along one side of a picture."""
        value = self._values.get(key)
        if not _is_side(value):
            raise self.error(key, f"a number of pixels, {_SIDES[0]} to {_SIDES[-1]}")
        return value

    def sides(self, key: str) -> tuple[int, int]:
        """Return `(height, width)` of a list of two numbers of pixels, or of one for both."""
        value = self._values.get(key)
        if _is_side(value):
            return value, value
        if isinstance(value, list) and len(value) == 2 and all(_is_side(side) for side in value):
            return value[0], value[1]
        raise self.error(key, f"one or two numbers of pixels, {_SIDES[0]} to {_SIDES[-1]}")

    def shape(self, key: str) -> tuple[int, int, int] | None:
        """Return `(channels, height, width)` of a list of three; None: there is none."""
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, list) and len(value) == 3 and value[0] in (1, 3) and all(map(_is_side, value[1:])):
            return value[0], value[1], value[2]
        raise self.error(key, f"[channels, height, width]: 1 or 3, then {_SIDES[0]} to {_SIDES[-1]} pixels twice")

    def triple(self, key: str, default: Triple | None = None, zero: bool = True) -> Triple:
        """Return a number for each channel; one is for all three.

        Args:
            key: of a number, or of a list of 1 or 3.
            default: where there is no value; None: there must be one.
            zero: whether a number may be 0.
        """
        value = self._values.get(key)
        if value is None and default is not None:
            return default
        found = value if isinstance(value, list) else [value]
        numbers = [float(number) for number in found if _is_number(number) and (zero or number != 0)]
        if len(found) not in (1, 3) or len(numbers) != len(found):
            raise self.error(key, "1 or 3 numbers" + ("" if zero else ", none of them 0"))
        red, green, blue = numbers if len(numbers) == 3 else numbers * 3
        return red, green, blue


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_side(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value in _SIDES
