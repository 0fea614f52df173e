"""Where in a drawing the ink is, and how dark it is against its paper."""
