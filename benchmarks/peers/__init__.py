"""The same encoder and index behind other serving frameworks, called by the same load generator."""
