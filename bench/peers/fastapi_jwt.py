"""A FastAPI handler that verifies a PyJWT HS256 token and compares its claims."""

import os

import jwt
from fastapi import FastAPI, Response
from pydantic import BaseModel

app = FastAPI()
_SECRET = os.environ["PEER_SECRET"]


class Hook(BaseModel):
    """MediaMTX's call."""

    ip: str
    user: str
    password: str
    token: str
    action: str
    path: str
    protocol: str
    id: str | None
    query: str


@app.post("/hook")
async def hook(call: Hook) -> Response:
    """Allow what the token says."""
    try:
        claims = jwt.decode(call.token, _SECRET, algorithms=["HS256"])
    except jwt.InvalidTokenError:
        return Response(status_code=403)
    allowed = claims["path"] == call.path and claims["action"] == call.action
    return Response(status_code=200 if allowed else 403)
