"""The formats that are read, and what a file that is not read claims to be.

Promises: the allow-list holds whatever else is registered with Pillow in the process. AVIF is read where Pillow was
built with it, as its wheels are; HEIC, which phones send, where pillow-heif is installed (the extra `heif`). A file
in a format that is known here but not read can be told by its name.
"""

from __future__ import annotations

from PIL import AvifImagePlugin, Image, features

try:
    import pillow_heif
except ModuleNotFoundError:
    _HEIC = False
else:
    pillow_heif.register_heif_opener()
    _HEIC = True

# Ours for Pillow's. A phone's multi-picture file is a JPEG with more pictures behind it.
_NAMES = {"MPO": "JPEG", "HEIF": "HEIC"}

# AVIF before HEIF: the two share a container, and a file of the brand `mif1` may hold either. libheif reads AVIF's
# container too, but comes without a decoder for what is in it.
READ = (
    *("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"),
    *(["AVIF"] if features.check("avif") else []),
    *(["HEIF"] if _HEIC else []),
)
"""The formats that are read here, by Pillow's names."""

_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"))
_MOST_BRANDS = 64

_REMEDIES = {
    "AVIF": "reading AVIF needs a Pillow that was built with libavif, as its wheels on PyPI are",
    "HEIC": "reading HEIC needs pillow-heif: pip install 'exemplar[heif]'",
}


def format_name(pillow_name: str | None) -> str:
    """Return the name by which a format is called here."""
    return "unknown" if pillow_name is None else _NAMES.get(pillow_name, pillow_name)


def claimed(content: bytes) -> str | None:
    """Tell by its first bytes which format a file is in; None for none that is known here."""
    container = _in_container(content)
    if container is not None:
        return container
    for name in READ:
        accept = Image.OPEN[name][1]
        if accept is None or accept(content[:16]):
            return format_name(name)
    return None


def remedy(name: str) -> str | None:
    """Say what is missing to read a format that is known here; None where it is read."""
    return None if name in map(format_name, READ) else _REMEDIES[name]


def decode_on_one_thread() -> None:
    """Have no decoder start threads of its own in this process, for where many processes decode side by side."""
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    if _HEIC:
        pillow_heif.options.DECODE_THREADS = 1


def _in_container(content: bytes) -> str | None:
    """Tell AVIF from HEIC by the brands of their container; None for anything else."""
    if content[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(content[:4], "big"), len(content), 16 + 4 * _MOST_BRANDS)
    brands = {content[8:12]} | {content[start : start + 4] for start in range(16, end, 4)}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIC" if brands & _HEIC_BRANDS else None
