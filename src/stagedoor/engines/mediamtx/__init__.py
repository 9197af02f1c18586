"""MediaMTX: its HTTP authentication hook."""
