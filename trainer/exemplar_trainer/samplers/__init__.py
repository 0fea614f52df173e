"""Samplers draw the next training batch. Each sampler is a pure function of its seed and the step.

So a resumed run continues with the very batch that it would have drawn, and no state has to be kept.
"""
