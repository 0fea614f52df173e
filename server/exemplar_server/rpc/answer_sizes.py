"""How much of a batch fits into one answer, known before the answer is built.

The attributes of a class may be large and are told with each query that is near it, so a request of a hundred
kilobytes could ask for gigabytes.
"""

from __future__ import annotations

from exemplar_server.classifier import Classification
from exemplar_server.errors import ResourceExhaustedError
from exemplar_server.store.records import Candidate

# What a message adds to its texts, at the most: tags, lengths, numbers, and the hint that an answer may carry.
_OF_ANSWER, _OF_MATCH, _OF_ATTRIBUTE = 1024, 64, 16


class AnswerSizes:
    """The bytes that the answers to a batch take together, and what is left."""

    def __init__(self, gallery: str, limit: int) -> None:
        """Begin with nothing taken.

        Args:
            gallery: where the classes are; its name is in theirs.
            limit: the bytes that an answer may have.
        """
        self._prefix = len(gallery.encode()) + len("galleries//classes/")
        self._limit = limit
        self._left = limit
        self._of_class: dict[str, int] = {}

    @property
    def taken(self) -> int:
        """The bytes of those that fit, at the most."""
        return self._limit - self._left

    def take(self, answer: Classification) -> Classification | ResourceExhaustedError:
        """Return an answer if there is room for it, else the error in its place."""
        size = _OF_ANSWER + sum(self._size(candidate) for candidate, _ in answer.matches)
        if size > self._left:
            return ResourceExhaustedError(
                "ANSWER_TOO_LARGE",
                f"the answers to this batch are larger than {self._limit:,} bytes together, mostly by the attributes "
                "of the classes: ask again for those that are missing, in smaller batches or with a lower top_k",
                {"limit": str(self._limit), "size": str(size)},
            )
        self._left -= size
        return answer

    def _size(self, candidate: Candidate) -> int:
        found = self._of_class.get(candidate.class_id)
        if found is None:
            texts = 2 * len(candidate.class_id.encode()) + len(candidate.display_name.encode())
            for key, value in candidate.attributes.items():
                texts += len(key.encode()) + len(value.encode()) + _OF_ATTRIBUTE
            found = self._of_class[candidate.class_id] = self._prefix + texts + _OF_MATCH
        return found
