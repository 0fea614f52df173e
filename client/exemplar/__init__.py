"""Client of Exemplar, a one-shot image classification service."""
