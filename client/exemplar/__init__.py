"""Client of Exemplar, a one-shot image classification service.

```python
from exemplar import Client

with Client() as client:
    client.create_gallery("stamps")
    client.enroll("stamps", "penny-black", "penny-black.jpg")
    print(client.classify("stamps", "letter.jpg").class_id)
```
"""

from exemplar.aio.client import AsyncClient
from exemplar.channel import Tls
from exemplar.errors import (
    AbortedError,
    AlreadyExistsError,
    DataLossError,
    DeadlineExceededError,
    ExemplarError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
)
from exemplar.images import Part
from exemplar.region import Region
from exemplar.requests import KEEP
from exemplar.results import (
    Calibration,
    Classification,
    ConfusablePair,
    Diagnosis,
    Embedding,
    Enrolled,
    Enrollment,
    Exemplar,
    ExemplarCheck,
    ExemplarRemoved,
    ExemplarsAdded,
    ExemplarWarning,
    Figure,
    Gallery,
    Hint,
    HintKind,
    ImageClass,
    Match,
    Model,
    NearestClass,
    Verdict,
    WarningKind,
)
from exemplar.sync.client import Client

__all__ = [
    "KEEP",
    "AbortedError",
    "AlreadyExistsError",
    "AsyncClient",
    "Calibration",
    "Classification",
    "Client",
    "ConfusablePair",
    "DataLossError",
    "DeadlineExceededError",
    "Diagnosis",
    "Embedding",
    "Enrolled",
    "Enrollment",
    "Exemplar",
    "ExemplarCheck",
    "ExemplarError",
    "ExemplarRemoved",
    "ExemplarWarning",
    "ExemplarsAdded",
    "FailedPreconditionError",
    "Figure",
    "Gallery",
    "Hint",
    "HintKind",
    "ImageClass",
    "InvalidArgumentError",
    "Match",
    "Model",
    "NearestClass",
    "NotFoundError",
    "Part",
    "Region",
    "ResourceExhaustedError",
    "Tls",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "Verdict",
    "WarningKind",
]
