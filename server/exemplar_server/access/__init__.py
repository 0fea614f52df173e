"""Who may do what: callers, the keys they show, what each call needs, and the account of what they did.

Nothing here knows the wire: `rpc/` hands over what a call shows of itself before its message is read.
"""
