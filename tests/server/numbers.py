"""What decoding processes of the tests do: an image is a number, and some numbers are trouble."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from exemplar_encoder import EncodedImage, ImageError, ImageProblem, PreparedImage
from exemplar_server.decoding_worker import MIB, Work
from exemplar_server.exemplar_warnings import ExemplarWarning, WarningKind


def prepare(image: EncodedImage) -> PreparedImage:
    """Do what the image says, and return its number as its one pixel."""
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
    if kind == "once":  # ends the process, but only the first
        Path(rest).touch(exist_ok=False) if not Path(rest).exists() else None
    if kind == "wait":  # until somebody writes to the pipe
        Path(rest).read_bytes()
    if kind == "slow":
        end = time.process_time() + float(rest)
        while time.process_time() < end:
            pass
    number = int(kind) if kind.isdigit() else 0
    return PreparedImage(np.full((1, 1, 1), number, np.uint8), "PNG", 1, 1, (0, 0, 1, 1), image.sha256())


def inspect(image: PreparedImage) -> list[ExemplarWarning]:
    """Find each image blank, and say in which process."""
    if image.pixels[0, 0, 0] == 7:
        raise ZeroDivisionError("an accident")
    return [ExemplarWarning(WarningKind.BLANK, str(os.getpid()))]


WORK = Work(prepare, inspect, (1, 1, 1), seconds=0.5, memory=200 * MIB)
