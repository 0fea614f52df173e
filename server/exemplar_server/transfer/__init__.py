"""Galleries carried elsewhere: from one truth to another, into an archive and back, each time verified."""
