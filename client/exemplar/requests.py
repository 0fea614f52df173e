"""From the caller's values to the contract's messages; `conversion` goes the other way."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Final

from exemplar import results
from exemplar.images import Image, Part, encoded, require_files, several, shrunk
from exemplar.names import model_name
from exemplar.region import Region
from exemplar.v1 import classification_service_pb2 as classification_pb
from exemplar.v1 import gallery_service_pb2 as gallery_pb
from exemplar.v1 import resources_pb2 as resources_pb

PAGE_SIZE = 500


class Keep(Enum):
    """The value of a field that an update leaves as it is (None means: back to the default)."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


def request_id() -> str:
    """Return an id for one changing call: all attempts at it carry the same, so that it has one effect."""
    return str(uuid.uuid4())


def image(of: Image, input_side: int | None = None) -> resources_pb.Image:
    """Build an image or a part of one; read its file, and shrink it for an input of that side, if one is given.

    Errors as `images.encoded`.
    """
    if input_side is not None:
        of = shrunk(of, input_side)
    if isinstance(of, Part):
        return resources_pb.Image(content=encoded(of.image), region=region(of.region))
    return resources_pb.Image(content=encoded(of))


def images(of: Sequence[Image]) -> list[resources_pb.Image]:
    """Build several images; errors as `image`."""
    return [image(each) for each in of]


def region(of: Region) -> resources_pb.Region:
    """Build a region."""
    if of.unit == "fraction":
        box = resources_pb.FractionBox(left=of.left, top=of.top, width=of.width, height=of.height)
        return resources_pb.Region(fractions=box)
    left, top, width, height = (int(number) for number in (of.left, of.top, of.width, of.height))
    return resources_pb.Region(pixels=resources_pb.PixelBox(left=left, top=top, width=width, height=height))


def query(of: Image | results.Embedding, input_side: int | None = None) -> resources_pb.Query:
    """Build a query from an image, as `image` does, or an embedding made before."""
    if isinstance(of, results.Embedding):
        model = model_name(of.model) if of.model else ""
        return resources_pb.Query(embedding=resources_pb.Embedding(values=of.values, model=model))
    return resources_pb.Query(image=image(of, input_side))


def enrollment(of: results.Enrollment) -> gallery_pb.Enrollment:
    """Build an enrollment; read its image files."""
    return gallery_pb.Enrollment(
        class_id=of.class_id,
        display_name=of.display_name,
        attributes=of.attributes,
        images=images(several(of.images)),
    )


def require_images(enrollments: Iterable[results.Enrollment]) -> None:
    """Check that the image files of a sequence of enrollments are there; errors as `images.require_file`."""
    if isinstance(enrollments, Sequence):
        for wanted in enrollments:
            require_files(several(wanted.images))


def classification_options(
    top_k: int | None, false_accept_rate: float | None, model: str | None
) -> classification_pb.ClassificationOptions:
    """Build the options of a classification; None leaves the choice to the server."""
    return classification_pb.ClassificationOptions(
        top_k=top_k, false_accept_rate=false_accept_rate, model=model_name(model) if model else ""
    )


def calibration(of: results.Calibration) -> resources_pb.Calibration:
    """Build a calibration: its data, which is all that the server reads."""
    return resources_pb.Calibration(data=of.data)


def view(embedding: bool) -> resources_pb.ClassView.ValueType:
    """Say how much of a class is wanted."""
    return resources_pb.CLASS_VIEW_EMBEDDING if embedding else resources_pb.CLASS_VIEW_BASIC


def changes(**fields: object) -> dict[str, Any]:
    """Return the fields that are not KEEP."""
    return {name: value for name, value in fields.items() if value is not KEEP}
