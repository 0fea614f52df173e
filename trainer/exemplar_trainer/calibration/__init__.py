"""What a distance means: fits of a `Calibration` on classes or queries that training never saw, and their check."""
