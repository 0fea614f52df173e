"""How long the proofs take: 1 for `make test`, more with `make soak`."""

from __future__ import annotations

import os

SCALE = int(os.environ.get("EXEMPLAR_TEST_SCALE", "1"))
