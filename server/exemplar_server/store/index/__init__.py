"""Indexes over the vectors of a gallery. Only this package knows FAISS and Milvus."""
