"""FAISS comes in wheels of several names that all install the package `faiss`, so no two of them go together."""

from __future__ import annotations

from importlib import metadata

from exemplar_server.errors import StartError

_WHEELS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs", "faiss-gpu-cu11", "faiss-gpu-cu12")


def check_faiss_wheels() -> None:
    """See that FAISS is installed once; to be called before it is imported.

    Raises:
        StartError: it is installed twice, so that files of one wheel have overwritten those of the other.
    """
    found = [name for name in _WHEELS if _installed(name)]
    if len(found) > 1:
        raise StartError(
            f"{' and '.join(found)} are both installed, and each overwrites files of the other; "
            f"pip uninstall {' '.join(found)}, then install exemplar[server] or exemplar[server-gpu], not both"
        )


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
