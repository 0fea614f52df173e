"""The client's commands, one module each; `exemplar.cli` puts them together."""
