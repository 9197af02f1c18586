"""The OAuth 2.0 side of the API: how callers get tokens for it, and what we publish of ourselves."""
