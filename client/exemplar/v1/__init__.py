"""Generated stubs of the contract `exemplar.v1`."""
