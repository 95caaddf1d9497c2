"""Search: K configurations of an objective, the pick among them, and its final runs."""
