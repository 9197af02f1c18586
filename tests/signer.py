"""A signer with one real key, for tests of what is signed."""

import json
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from stagedoor.model.key import Algorithm
from stagedoor.model.secret import Secret
from stagedoor.service.key_ports import Signed


class Es256Signer:
    """The port `Signer`, for ES256 alone."""

    def __init__(self, kid: str = "test-1") -> None:
        self.kid = kid
        self.key = ec.generate_private_key(ec.SECP256R1())

    async def sign(self, claims: Mapping[str, object], *, algorithm: Algorithm, typ: str = "JWT") -> Signed:
        """Sign claims."""
        assert algorithm is Algorithm.ES256
        text = jwt.encode(dict(claims), self.key, algorithm="ES256", headers={"kid": self.kid, "typ": typ})
        return Signed(Secret(text), 1, self.kid)

    def jwks(self) -> dict[str, Any]:
        """Return the published half."""
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [public | {"kid": self.kid, "alg": "ES256", "use": "sig"}]}
