"""What each call needs: a scope, and where its request names the gallery and the class that it is about.

A call that is not in the table is not served, so that none is open because it was forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from exemplar.names import gallery_id_problem
from exemplar_server.access.caller import Caller
from exemplar_server.errors import PermissionDeniedError, gallery_not_found


@dataclass(frozen=True)
class Policy:
    """What a call needs.

    Attributes:
        needs: a scope; `caller` where any known caller will do, `nothing` where nobody is asked.
        gallery: where its request names the gallery, as `field` or `field.field`; empty where it is about none.
        image_class: where its request names the class, likewise.
        creates: whether it makes the gallery that it names.
    """

    needs: Literal["nothing", "caller", "read", "write", "admin"]
    gallery: str = ""
    image_class: str = ""
    creates: bool = False

    @property
    def changes(self) -> bool:
        """Whether such a call changes what is stored."""
        return self.needs in ("write", "admin")

    def gallery_of(self, request: Any) -> str | None:
        """Return the id of the gallery that a request is about; None for none, or where the name is no name."""
        text = _at(self.gallery, request)
        if not self.creates:
            kind, _, rest = text.partition("/")
            text = rest.partition("/")[0] if kind == "galleries" else ""
        return None if gallery_id_problem(text) else text

    def class_of(self, request: Any) -> str:
        """Return the id of the class that a request is about, empty for none; it may be none that is allowed."""
        return _at(self.image_class, request).rpartition("/")[2]

    def check_scope(self, method: str, caller: Caller) -> None:
        """Refuse a caller without the scope.

        Raises:
            PermissionDeniedError: naming scope and method.
        """
        if self.needs in ("nothing", "caller") or self.needs in caller.scopes:
            return
        raise PermissionDeniedError(
            "SCOPE_MISSING",
            f"{method} needs the scope {self.needs!r}, which {caller.name!r} does not have",
            {"scope": self.needs, "rpc": method},
        )

    def check_gallery(self, request: Any, caller: Caller) -> None:
        """Refuse a gallery that is not there for the caller, in the same words whether it exists or not.

        Raises:
            NotFoundError: as for a gallery that nobody has.
            PermissionDeniedError: the caller may make no gallery of this id.
        """
        gallery = self.gallery_of(request)
        if gallery is None or caller.sees(gallery):
            return
        if self.creates:
            raise PermissionDeniedError(
                "GALLERY_OUTSIDE_PATTERNS",
                f"{caller.name!r} may make no gallery {gallery!r}; its ids match {', '.join(caller.galleries)}",
                {"gallery": gallery, "patterns": ",".join(caller.galleries)},
            )
        raise gallery_not_found(gallery)


def _at(path: str, request: Any) -> str:
    found = request
    for field in path.split(".") if path else ():
        found = getattr(found, field)
    return found if path else ""


_CLASSIFICATION = "/exemplar.v1.ClassificationService/"
_GALLERY = "/exemplar.v1.GalleryService/"
_MODEL = "/exemplar.v1.ModelService/"
_OPEN = Policy("nothing")

POLICIES = {
    _CLASSIFICATION + "Classify": Policy("read", "gallery"),
    _CLASSIFICATION + "BatchClassify": Policy("read", "gallery"),
    _CLASSIFICATION + "Embed": Policy("read"),
    _CLASSIFICATION + "BatchEmbed": Policy("read"),
    _GALLERY + "CreateGallery": Policy("admin", "gallery_id", creates=True),
    _GALLERY + "GetGallery": Policy("read", "name"),
    _GALLERY + "ListGalleries": Policy("read"),  # and lists only what the caller sees
    _GALLERY + "UpdateGallery": Policy("admin", "gallery.name"),
    _GALLERY + "DeleteGallery": Policy("admin", "name"),
    _GALLERY + "EnrollClass": Policy("write", "gallery", "enrollment.class_id"),
    _GALLERY + "BatchEnrollClasses": Policy("write", "gallery"),
    _GALLERY + "GetClass": Policy("read", "name", "name"),
    _GALLERY + "ListClasses": Policy("read", "gallery"),
    _GALLERY + "UpdateClass": Policy("write", "image_class.name", "image_class.name"),
    _GALLERY + "DeleteClass": Policy("write", "name", "name"),
    _GALLERY + "AddExemplars": Policy("write", "class_name", "class_name"),
    _GALLERY + "RemoveExemplar": Policy("write", "class_name", "class_name"),
    _GALLERY + "GetExemplarImage": Policy("read", "class_name", "class_name"),
    _GALLERY + "CheckExemplar": Policy("read", "gallery", "class_id"),
    _GALLERY + "DiagnoseGallery": Policy("read", "name"),
    _MODEL + "GetModel": Policy("read"),
    _MODEL + "ListModels": Policy("read"),
    # It tells only whether the server serves, and balancers that ask have no key.
    "/grpc.health.v1.Health/Check": _OPEN,
    "/grpc.health.v1.Health/List": _OPEN,
    "/grpc.health.v1.Health/Watch": _OPEN,
    # The contract is public, but who has no key has no use for it.
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Policy("caller"),
}
