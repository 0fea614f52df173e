"""One question a module, each run with `python -m benchmarks.NAME`: a table on screen, JSON in `benchmarks/results/`.

Figures are from the machine they ran on; compare within one run.
"""
