"""A bundle's account of itself, `manifest.json`: where it comes from, how it reads images, and how good it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from exemplar_encoder.preprocess import Preprocessing

FORMAT_VERSION: Literal[1] = 1

# A field that this program does not know may change what the others mean.
_STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class Figure:
    """One measured figure with the ends of its 95 % interval, where one was computed."""

    __pydantic_config__ = _STRICT

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Manifest:
    """A bundle's description.

    Attributes:
        name: the trainer's name for it.
        recipe: the recipe that trained it.
        created: when, ISO 8601 in UTC.
        dimension: length of an embedding.
        preprocessing: how images become the network's input.
        figures: what was measured when it was made, on the classes that its calibration was fitted on.
        training: free facts for people: groups held out, steps, seed.
        files: SHA-256 of every file but the manifest and its checksum, by path.
        format_version: of the bundle's layout.
    """

    __pydantic_config__ = _STRICT

    name: str
    recipe: str
    created: str
    dimension: int
    preprocessing: Preprocessing
    figures: tuple[Figure, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    format_version: Literal[1] = FORMAT_VERSION

    def to_json(self) -> str:
        """Return it as text, in one canonical form, since its hash is the bundle's id."""
        return json.dumps(_CODEC.dump_python(self, mode="json"), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            return _CODEC.validate_json(text)
        except ValidationError as error:
            faults = {".".join(map(str, fault["loc"])): fault for fault in error.errors()}
            # Of a version that is unknown, the other faults are only consequences.
            if version := faults.get("format_version"):
                raise ValueError(
                    f"its format version is {version['input']!r}; this program reads version {FORMAT_VERSION}"
                ) from error
            place, fault = next(iter(faults.items()))
            raise ValueError(f"{place}: {fault['msg']}" if place else fault["msg"]) from error


_CODEC = TypeAdapter(Manifest)
