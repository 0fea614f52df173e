"""How good is a bundle? It is asked questions, each query is decided on its own, and the answers are counted.

Questions come from a tree of images (`tree`), from the published runs (`lake_runs`) or from two folders
(`folder_pairs`). `accuracy` counts what was named rightly, `open_set` what became of queries of unknown classes, and
`results` puts a bundle's answers beside the questions. Nothing here needs Keras or TensorFlow.
"""
