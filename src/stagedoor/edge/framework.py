"""The framework's application: every route that is not on the hot path.

Imported late (see `root.Late`): nothing else here may import the framework.
"""

from litestar import Litestar
from litestar.exceptions import HTTPException

from stagedoor.edge.asgi import App
from stagedoor.edge.millicast.api import token_api
from stagedoor.edge.millicast.envelope import on_http_error, on_unexpected
from stagedoor.service.accounts import Accounts
from stagedoor.service.token_admin import TokenAdmin

MAX_BODY_BYTES = 1_000_000


def framework_app(*, accounts: Accounts, tokens: TokenAdmin) -> App:
    """Build the application from the use cases it serves."""
    app: App = Litestar(  # type: ignore[assignment]  # the framework's own, narrower words for the same protocol
        route_handlers=[token_api(accounts=accounts, tokens=tokens)],
        exception_handlers={HTTPException: on_http_error, Exception: on_unexpected},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=MAX_BODY_BYTES,
    )
    return app
