"""Media servers: for each its hook dialect and its configuration. One folder a server; they never meet."""
