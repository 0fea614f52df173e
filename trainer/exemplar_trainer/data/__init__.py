"""Images by class, in memory: how a tree of them is read, split and paired."""
