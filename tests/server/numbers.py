"""What decoding processes of the tests do: an image is a number, and some numbers are trouble."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from time import process_time

import numpy as np

from exemplar_encoder import EncodedImage, ImageError, ImageProblem, PreparedImage
from exemplar_server.decoding_worker import MIB, Work
from exemplar_server.exemplar_warnings import ExemplarWarning, WarningKind


def prepare(image: EncodedImage) -> PreparedImage:
    """Do what the image says, and return its number, or else the process's, as its width."""
    kind, _, rest = image.content.decode().partition(" ")
    if kind == "bad":
        raise ImageError(ImageProblem.TRUNCATED, "bad")
    if kind == "broken":
        raise ZeroDivisionError("an accident")
    if kind == "endless":
        while True:
            pass
    if kind == "huge":
        np.ones(10_000 * MIB, np.uint8)
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "once" and not Path(rest).exists():
        Path(rest).touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "spoiled":  # as shows at the end
        end = process_time() + float(rest)
        while process_time() < end:
            pass
        raise ImageError(ImageProblem.TRUNCATED, "spoiled")
    if kind == "held":  # until somebody writes to that pipe
        Path(rest).read_bytes()
    number = int(kind) if kind.isdigit() else 0
    pixels = np.full((1, 1, 1), number, np.uint8)
    return PreparedImage(pixels, "PNG", os.getpid(), 1, (0, 0, 1, 1), 1.0, image.sha256())


def inspect(image: PreparedImage) -> list[ExemplarWarning]:
    """Find each image blank, and say its number; one has an accident."""
    if image.pixels[0, 0, 0] == 7:
        raise ZeroDivisionError("an accident")
    return [ExemplarWarning(WarningKind.BLANK, str(image.pixels[0, 0, 0]))]


WORK = Work(prepare, inspect, (1, 1, 1), seconds=0.3, memory=200 * MIB)
