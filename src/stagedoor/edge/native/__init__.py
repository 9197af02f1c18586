"""The API of our own (`/v1`): what the compatible one has no words for. Its errors are RFC 9457."""
