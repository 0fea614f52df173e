"""Weights without a graph: which command of their library makes the ONNX that a bundle needs."""

from __future__ import annotations

import shlex
from pathlib import Path

# Files of weights alone, of PyTorch, Keras and JAX.
_STATES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")


def is_state(file: Path) -> bool:
    """Whether a file is one of weights alone, by its name."""
    return file.suffix in _STATES


def found_instead(folder: Path, library: str | None) -> str | None:
    """Say what a folder without an ONNX file holds, and how to make one.

    Args:
        folder: of the model.
        library: whose configuration it holds: "Hugging Face", "timm", "open_clip"; None: none.

    Returns:
        A sentence; None: there are no weights either.
    """
    for saved in (folder, folder / "saved_model"):
        if (saved / "saved_model.pb").is_file():
            return (
                f"{saved} is a SavedModel of TensorFlow, no ONNX; make one: "
                f"python -m tf2onnx.convert --saved-model {_shell(saved)} --output {_shell(folder / 'model.onnx')}"
            )
    keras = sorted(folder.glob("*.keras"))
    if keras:
        return f"{folder} holds a Keras model, no ONNX; name the file: --model {_shell(keras[0])}"
    states = sorted(file.name for file in folder.iterdir() if is_state(file))
    if not states:
        return None
    return f"{folder} holds weights ({states[0]}) but no ONNX; make one with {_exporter(folder, library)}"


def _exporter(folder: Path, library: str | None) -> str:
    if library == "Hugging Face":
        target = _shell(folder / "onnx")
        return f"optimum-cli export onnx --model {_shell(folder)} --task feature-extraction {target}"
    built = {
        "timm": f'timm.create_model("local-dir:{folder}", pretrained=True, num_classes=0)',
        "open_clip": f'open_clip.create_model("local-dir:{folder}").visual',
    }
    network = built.get(library or "", "network")
    return (
        f'torch.onnx.export({network}.eval(), torch.zeros(1, 3, HEIGHT, WIDTH), "{folder / "model.onnx"}") in Python'
        + ("" if library else ", and put the configuration that it was published with beside it")
    )


def _shell(path: Path) -> str:
    return shlex.quote(str(path))
