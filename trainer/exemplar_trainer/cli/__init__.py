"""The commands of the trainer: `exemplar train`, `export`, `evaluate` and `calibrate`, and what they print."""
