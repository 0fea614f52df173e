"""Makes the embedding model: data sets, networks, losses, samplers, fitting, evaluation, calibration and export.

Its product is a bundle, which the encoder package reads. Network, losses and augmentation use Keras operations that
run on any Keras backend; only the export needs TensorFlow.
"""
