"""Was a bundle trained on what it is asked about? Then its figures are a ceiling, and are marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exemplar_encoder import Bundle
from exemplar_trainer.data.wording import abridged
from exemplar_trainer.evaluation.tasks import EvaluationError, Questions

MARK = " *"
NOTE = (
    "* was trained on classes that it is asked about: its training held out nothing, or other classes. "
    "Its figures are a ceiling; they do not tell how good it is on classes that it never saw."
)


def trained_on(training: Mapping[str, Any], questions: Questions) -> bool | None:
    """Return whether a bundle's training saw any of the classes asked about.

    Args:
        training: the account of its training in the bundle's manifest.
        questions: on classes of the tree that this training was split from, by their names there.

    Returns:
        None where the manifest does not tell, as for a network that was trained elsewhere.
    """
    if not training.get("training_classes"):
        return None
    held_out = set(training.get("held_out", ()))
    return any(held_out.isdisjoint(names) for names in zip(questions.classes, questions.groups, strict=True))


def held_out_of(bundle: Bundle) -> Sequence[str]:
    """Return the names of the groups or classes that a bundle's training held out.

    Raises:
        EvaluationError: nothing.
    """
    training = bundle.manifest.training
    names: Sequence[str] = training.get("held_out", ())
    if names:
        return names
    measured_without = training.get("measured_without", ())
    if measured_without:
        raise EvaluationError(
            f"{bundle.path} is a final bundle: its training held out nothing. Name the one that it was measured by, "
            f"whose training held out {abridged(measured_without)}"
        )
    raise EvaluationError(
        f"the training of {bundle.path} held out nothing, so it tells of no class that it never saw"
    )
