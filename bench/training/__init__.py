"""Training speed: each trainer in a process of its own (one), the rows and models (ground), the page (page)."""
