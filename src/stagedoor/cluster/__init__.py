"""What this process knows of the store, and how it learns that the store changed."""
