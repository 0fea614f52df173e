"""From a base network to a bundle: measured, calibrated, written in every form and replayed."""
