"""Configuration for MediaMTX."""

from string import Template

_SNIPPET = Template("""\
# Into mediamtx.yml, in place of the settings of the same names.
authMethod: http
authHTTPAddress: $hook_url
# Nothing is left out: calls to MediaMTX's own API are asked for too, and need the hook secret as bearer token.
authHTTPExclude: []
# Stagedoor answers in milliseconds; MediaMTX asks it for each client in turn, so it must not wait long for a dead one.
readTimeout: 10s
paths:
  # Stagedoor knows the streams; MediaMTX takes any path that it allows.
  all_others:
""")


def snippet(hook_url: str) -> str:
    """Return the settings to put into mediamtx.yml."""
    return _SNIPPET.substitute(hook_url=hook_url)
