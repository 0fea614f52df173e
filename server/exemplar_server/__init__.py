"""The server: galleries and classification over gRPC.

`rpc/` speaks gRPC and nothing else does; `classifier` is plain Python over arrays; `store/` alone knows SQLite and
FAISS. Nothing imports this package.
"""
