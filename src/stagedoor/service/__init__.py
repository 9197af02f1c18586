"""Use cases, and the ports they need from the rest of the world."""
