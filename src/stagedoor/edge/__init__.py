"""HTTP: the hooks of engines, the APIs, health."""
