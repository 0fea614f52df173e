"""Records as an archive writes them: JSON, the same text for the same record.

Times are ISO 8601 in UTC with microseconds, embeddings Base64 of float32 in little-endian order. An exemplar names
its image by the SHA-256 of the image's content; it is stored beside.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from exemplar_encoder import Calibration, Region
from exemplar_encoder.arrays import Floats
from exemplar_server.store.records import ClassCopy, Exemplar, Gallery, KeptResponse, NewExemplar

_LINE = json.JSONEncoder(ensure_ascii=False)


def gallery_text(gallery: Gallery) -> bytes:
    """Write a gallery's record."""
    calibration = None if gallery.calibration is None else json.loads(gallery.calibration.to_json())
    fields = {
        "id": gallery.id,
        "display_name": gallery.display_name,
        "model": gallery.model,
        "dimension": gallery.dimension,
        "revision": gallery.revision,
        "class_count": gallery.class_count,
        "false_accept_rate": gallery.false_accept_rate,
        "max_exemplars_per_class": gallery.max_exemplars_per_class,
        "create_time": _time(gallery.create_time),
        "update_time": _time(gallery.update_time),
        "calibration": calibration,
    }
    return json.dumps(fields, ensure_ascii=False, indent=1).encode() + b"\n"


def read_gallery(text: bytes) -> Gallery:
    """Read what `gallery_text` wrote. Raises `ValueError`, `KeyError` or `TypeError`."""
    fields = json.loads(text)
    calibration = fields["calibration"]
    fields |= {name: _moment(fields[name]) for name in ("create_time", "update_time")}
    fields["calibration"] = None if calibration is None else Calibration.from_json(json.dumps(calibration))
    return Gallery(**fields)


def class_line(of: ClassCopy, image_names: list[str]) -> bytes:
    """Write a class, on one line; `image_names` has the name of each exemplar's image."""
    exemplars = [_exemplar(item, name) for item, name in zip(of.exemplars, image_names, strict=True)]
    fields = {
        "id": of.id,
        "display_name": of.display_name,
        "attributes": dict(sorted(of.attributes.items())),
        "create_time": _time(of.create_time),
        "update_time": _time(of.update_time),
        "embedding": _values(of.embedding),
        "exemplars": exemplars,
    }
    return _LINE.encode(fields).encode() + b"\n"


def read_class(line: bytes, image: Callable[[str], bytes]) -> ClassCopy:
    """Read what `class_line` wrote; `image` gives an image by its name. Raises as `read_gallery`."""
    fields = json.loads(line)
    return ClassCopy(
        fields["id"],
        fields["display_name"],
        fields["attributes"],
        _moment(fields["create_time"]),
        _moment(fields["update_time"]),
        _embedding(fields["embedding"]),
        [_read_exemplar(item, image(item["image"])) for item in fields["exemplars"]],
    )


def response_line(of: KeptResponse) -> bytes:
    """Write a kept response, on one line."""
    fields = {
        "id": of.id,
        "method": of.method,
        "digest": _base64(of.digest),
        "response": _base64(of.response),
        "time": of.time,
    }
    return _LINE.encode(fields).encode() + b"\n"


def read_response(line: bytes) -> KeptResponse:
    """Read what `response_line` wrote. Raises as `read_gallery`."""
    fields = json.loads(line)
    fields |= {name: binascii.a2b_base64(fields[name]) for name in ("digest", "response")}
    return KeptResponse(**fields)


def _exemplar(item: NewExemplar, image_name: str) -> dict[str, Any]:
    of = item.exemplar
    return {
        "sha256": of.sha256,
        "width": of.width,
        "height": of.height,
        "format": of.format,
        "size_bytes": of.size_bytes,
        "region": None if of.region is None else str(of.region),
        "embedding": _values(item.embedding),
        "image": image_name,
    }


def _read_exemplar(fields: Mapping[str, Any], image: bytes) -> NewExemplar:
    region = fields["region"]
    described = Exemplar(
        fields["sha256"],
        fields["width"],
        fields["height"],
        fields["format"],
        fields["size_bytes"],
        None if region is None else Region.parse(region),
    )
    return NewExemplar(described, image, _embedding(fields["embedding"]))


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _values(embedding: Floats) -> str:
    return _base64(np.ascontiguousarray(embedding, "<f4").tobytes())


def _embedding(text: str) -> Floats:
    return np.frombuffer(binascii.a2b_base64(text), "<f4").astype(np.float32, copy=False)


def _base64(content: bytes) -> str:
    return binascii.b2a_base64(content, newline=False).decode("ascii")
