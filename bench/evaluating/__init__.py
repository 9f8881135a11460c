"""What it costs to ask: this harness and its peers against servers that cost nothing, and against real ones."""
