"""Everything that decides what a training run does: its type, the recipes that ship, and options that change one."""
