"""What the vendor's client makes of our answers: asks for tokens with whatever version stands on the path, prints JSON.

Run by itself, as `ask.py HOST:PORT CERTIFICATE QUESTIONS`, so that several versions can be asked in one test.
"""

import asyncio
import importlib
import importlib.metadata
import json
import sys
from typing import Any

import certifi
from dolbyio_rest_apis.core import urls
from dolbyio_rest_apis.core.http_request_error import HttpRequestError


async def ask(function: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what a function of the client's returns, or what it reads in an error."""
    module, _, name = function.rpartition(".")
    call = getattr(importlib.import_module(f"dolbyio_rest_apis.{module}"), name)
    try:
        token = await call(**arguments)
    except HttpRequestError as error:
        return {
            "status": error.status_code,
            "type": error.error_type,
            "code": error.error_code,
            "reason": error.error_reason,
            "description": error.error_description,
        }
    return {
        "token": token.access_token,
        "type": token.token_type,
        "seconds": getattr(token, "expires_in_val", 0),
    } | dict(token)


async def main() -> None:
    """Ask all questions."""
    host, certificate, questions = sys.argv[1:]
    for name in ("API_URL", "COMMS_URL", "MAPI_URL"):
        if hasattr(urls, name):
            setattr(urls, name, host)
    certifi.where = lambda: certificate
    answers = [await ask(function, arguments) for function, arguments in json.loads(questions)]
    version = importlib.metadata.version("dolbyio-rest-apis")
    sys.stdout.write(json.dumps({"version": version, "answers": answers}))


asyncio.run(main())
