"""The edge: everything that knows gRPC and the messages of `exemplar.v1`."""
