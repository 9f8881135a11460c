"""An evaluation-first harness: every fine-tune is a gated experiment."""

__version__ = "0.1.0"
