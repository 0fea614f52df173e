"""`GalleryService`, put together from its calls about galleries, about classes and about exemplars."""

from __future__ import annotations

from exemplar.v1 import gallery_service_pb2_grpc as pb_grpc
from exemplar_server.rpc.exemplars import ExemplarCalls
from exemplar_server.rpc.galleries import GalleryCalls
from exemplar_server.rpc.image_classes import ImageClassCalls


class GalleryServicer(GalleryCalls, ImageClassCalls, ExemplarCalls, pb_grpc.GalleryServiceServicer):
    """Keeps galleries and the classes in them."""
