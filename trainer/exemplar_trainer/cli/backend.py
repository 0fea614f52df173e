"""Loads TensorFlow without its chatter: a dozen lines about processors and missing GPUs that are nobody's concern.

They are written by native code before its log level is read, so they are caught where they arrive, at the file
descriptor. When loading fails, they are shown after all.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile

import typer

BACKENDS = ("tensorflow", "jax", "torch")


def load_backend() -> None:
    """Import Keras and its backend and let them look for devices, with standard error set aside meanwhile.

    Raises:
        BadParameter: `KERAS_BACKEND` names none, or one that is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    chosen = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if chosen not in BACKENDS:
        raise typer.BadParameter(f"KERAS_BACKEND is {chosen!r}; Keras has {', '.join(BACKENDS)}")
    if chosen != "tensorflow" and not importlib.util.find_spec(chosen):
        raise typer.BadParameter(f"KERAS_BACKEND is {chosen}, which is not installed: pip install {chosen}")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            import keras

            if importlib.util.find_spec("tensorflow"):  # with another backend, too, it writes the bundle
                import tensorflow as tf

                if keras.backend.backend() != "tensorflow":
                    tf.config.set_visible_devices([], "GPU")  # whose memory the other one needs
                tf.config.list_logical_devices()
        except BaseException:
            chatter.seek(0)
            os.write(kept, chatter.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
