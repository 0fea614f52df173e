"""Everything that knows gRPC and the messages of `exemplar.v1`."""
