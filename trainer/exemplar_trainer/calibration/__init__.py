"""The meaning of distances: fits of a `Calibration` on classes or queries not trained on here, and their check.

`from_held_out` and `from_gallery` show queries to galleries (`observations`); `fit` makes a calibration of what they
met: its `thresholds`, `probability` and `ambiguity`. `check` and `gallery_sizes` judge such fits by classes that
they were not fitted on. Nothing here needs Keras or TensorFlow.
"""
