"""`python -m exemplar_server` is `exemplar serve`."""

from exemplar_server.cli import app

app(prog_name="exemplar serve")
