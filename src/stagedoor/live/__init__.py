"""The embedded live plane: media servers of our own, run beside the authority."""
