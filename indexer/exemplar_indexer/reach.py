"""What a source may have read: a manifest that came over the network does not choose files and hosts of this network.

A folder and a local manifest are the caller's own and name what they like. What somebody else's manifest names is
fetched from here, with this machine's rights and from its place in the network, and lands in a gallery: so it names
its own place and public web servers, unless the caller trusts it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

WEB = ("http", "https")

_TRUST = "--trust-manifest lets it"
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True)
class Reach:
    """What may be read.

    Attributes:
        manifest: URL of the manifest that is not trusted; empty where anything may be read.
    """

    manifest: str = ""

    @classmethod
    def of(cls, source: str, trusted: bool) -> Self:
        """Return what the images of a source may be read from."""
        return cls("" if trusted or local_path(source) is not None else source)

    def refusal(self, image: str) -> str | None:
        """Return a sentence on why an image may not be read; None when it may, as far as its name tells."""
        if not self.manifest:
            return None
        if local_path(image) is not None:
            return f"a manifest from {_place(self.manifest)} may not name files of this machine, as {image}; {_TRUST}"
        if "::" not in image and (_scheme(image) in WEB or _place(image) == _place(self.manifest)):
            return None
        return (
            f"a manifest from {_place(self.manifest)} may name images there and on public web servers only, "
            f"not {image}; {_TRUST}"
        )

    def is_public_only(self, url: str) -> bool:
        """Return whether the host of a web URL must have a public address.

        The manifest's own need not where its URL says as much, by an address or as localhost. A name says nothing:
        whoever owns it may have it mean another address with every question.
        """
        if not self.manifest:
            return False
        host = urlsplit(self.manifest).hostname or ""
        return _place(url) != _place(self.manifest) or (host != "localhost" and is_public(host) is not False)


ANYWHERE = Reach()


def local_path(place: str) -> str | None:
    """Return the path of what is on this machine; None for a URL of anything else."""
    scheme, found, rest = place.partition("://")
    if not found:
        return place
    return rest if scheme in ("file", "local") else None


def is_public(address: str) -> bool | None:
    """Return whether an IP address is reached from anywhere; None when it is no address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        within = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF) if found in _NAT64 else None
        if inner := found.ipv4_mapped or found.sixtofour or within:
            found = inner
    return found.is_global and not found.is_multicast


def refused_address(address: str) -> str:
    """Return the sentence on an address that is not public."""
    return f"{address} is no public address, and a manifest from the network may not have it asked; {_TRUST}"


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


def _place(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme.lower()}://{rest.partition('/')[0].lower()}"
