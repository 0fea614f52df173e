"""Everything that decides what a training run does, as plain data."""
