"""The secure playback API (`/api/v1/splay`), in the words of its clients (docs/contracts/playback-tokens.md)."""
