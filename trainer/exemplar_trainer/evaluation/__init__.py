"""How good is a bundle? Questions are asked of it, each query is decided alone, and the answers are counted.

A protocol (`protocols.py`) reads images and poses tasks; `judge.py` answers and counts them; `openset.py` asks
whether the bundle knows when it does not know, and `separation.py` how well distances can tell; `page.py` shows what
was found. None of it needs TensorFlow.
"""
