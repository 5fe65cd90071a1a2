"""The verbs of the command line, one per file: `add` says what it takes, `run` does it.

Nothing heavy is imported before a verb runs, so that asking for help needs no torch.
"""
