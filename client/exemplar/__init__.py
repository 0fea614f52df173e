"""Client of Exemplar, a one-shot image classification service.

```python
from exemplar import Client

with Client("127.0.0.1:50051") as client:
    client.create_gallery("stamps")
    client.enroll("stamps", "penny-black", "penny-black.jpg")
    print(client.classify("stamps", "letter.jpg").class_id)
```
"""

from exemplar.aio import AsyncClient
from exemplar.calls import KEEP
from exemplar.channel import Tls
from exemplar.client import Client
from exemplar.errors import (
    AlreadyExistsError,
    DataLossError,
    DeadlineExceededError,
    ExemplarError,
    FailedPreconditionError,
    InvalidArgumentError,
    ItemError,
    NotFoundError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
)
from exemplar.results import (
    Calibration,
    Class,
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
    Match,
    Model,
    NearestClass,
    Verdict,
    WarningKind,
)

__all__ = [
    "KEEP",
    "AlreadyExistsError",
    "AsyncClient",
    "Calibration",
    "Class",
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
    "InvalidArgumentError",
    "ItemError",
    "Match",
    "Model",
    "NearestClass",
    "NotFoundError",
    "ResourceExhaustedError",
    "Tls",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "Verdict",
    "WarningKind",
]
