"""Changes that leave the class as it is: drawn on the host, applied in the graph."""
