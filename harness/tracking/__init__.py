"""Results told to other trackers."""
