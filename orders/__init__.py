"""The domain: what an order is and how it may move.

Standard library only, and no clock, I/O or randomness: `now` is an argument. The same code
therefore decides identically in the API, in a workflow and in a workflow's replay.
"""
