"""Was a bundle trained on what it is asked about? Then its figures are a ceiling, and are marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exemplar_trainer.evaluation.questions import Questions

MARK = " *"
NOTE = (
    "* was trained on classes that it is asked about: its training held out nothing, or other classes. "
    "Its figures are a ceiling; they do not tell how good it is on classes that it never saw."
)


def trained_on(training: Mapping[str, Any], questions: Questions) -> bool | None:
    """Whether training saw any of the classes asked about, all of the tree that the bundle's training split.

    Args:
        training: what the bundle's manifest says of its training.
        questions: on classes that are named as in that tree.

    Returns:
        None where the manifest does not tell, as for a network that was trained elsewhere.
    """
    if not training.get("training_classes"):
        return None
    held_out = set(training.get("held_out", ()))
    return any(held_out.isdisjoint(names) for names in zip(questions.classes, questions.groups, strict=True))
