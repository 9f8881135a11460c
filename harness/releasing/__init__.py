"""What is deployed: aliases such as `production` are moved and moved back, and what they name is served.

checking  whether runs and weights that were judged are still what they were
moving    promotion and rollback
judged    questions that were judged, asked again
serving   a server of exactly what was judged (imported when it is asked for)
"""

from harness.releasing.moving import PRODUCTION, Moved, promote, rollback, standing

__all__ = ["PRODUCTION", "Moved", "promote", "rollback", "standing"]
