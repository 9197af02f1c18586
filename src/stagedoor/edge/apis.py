"""All operations of both APIs, put together from the use cases they serve."""

from stagedoor.edge.api import Api
from stagedoor.edge.document import document_operations
from stagedoor.edge.millicast.account import account_operations
from stagedoor.edge.millicast.analytics import analytics_operations
from stagedoor.edge.millicast.clusters import cluster_operations
from stagedoor.edge.millicast.envelope import Envelopes
from stagedoor.edge.millicast.recordings import recording_operations
from stagedoor.edge.millicast.streams import stream_operations
from stagedoor.edge.millicast.thumbnails import thumbnail_operations
from stagedoor.edge.millicast.token_operations import token_operations
from stagedoor.edge.millicast.webhooks import webhook_operations
from stagedoor.edge.native.api_secrets import api_secret_operations
from stagedoor.edge.native.applications import application_operations
from stagedoor.edge.native.playback_tokens import playback_token_operations
from stagedoor.edge.native.problem import Problems
from stagedoor.edge.native.stream_groups import stream_group_operations
from stagedoor.edge.native.token_values import token_value_operations
from stagedoor.edge.native.trusted_keys import trusted_key_operations
from stagedoor.edge.native.verifiers import verifier_operations
from stagedoor.edge.native.webhooks import delivery_operations
from stagedoor.edge.oauth.dialect import OAuth
from stagedoor.edge.oauth.published import published_operations
from stagedoor.edge.oauth.tokens import client_token_operations
from stagedoor.edge.oauth.tokens import token_operations as api_token_operations
from stagedoor.edge.operation import Mount
from stagedoor.edge.splay.dialect import Splay
from stagedoor.edge.splay.operations import PATH, splay_operations
from stagedoor.model.token import TokenKind
from stagedoor.service.accounts import Accounts
from stagedoor.service.api_secrets import ApiSecrets
from stagedoor.service.api_tokens import ApiTokens
from stagedoor.service.applications import Applications
from stagedoor.service.callers import Callers
from stagedoor.service.child_ports import ChildStore
from stagedoor.service.children import Children
from stagedoor.service.clusters import Clusters
from stagedoor.service.groups import Groups
from stagedoor.service.mint import Minter
from stagedoor.service.playback import PlaybackTokens
from stagedoor.service.ports import Clock
from stagedoor.service.signing_keys import SigningKeys
from stagedoor.service.streams import Streams
from stagedoor.service.thumbnails import Thumbnailer
from stagedoor.service.token_admin import TokenAdmin
from stagedoor.service.trusted_keys import TrustedKeys
from stagedoor.service.verifiers import Verifiers
from stagedoor.service.webhooks import Webhooks


def api_app(
    *,
    accounts: Accounts,
    api_secrets: ApiSecrets,
    api_tokens: ApiTokens,
    applications: Applications,
    callers: Callers,
    child_store: ChildStore,
    children: Children,
    clock: Clock,
    clusters: Clusters,
    groups: Groups,
    signing_keys: SigningKeys,
    minter: Minter,
    playback: PlaybackTokens,
    streams: Streams,
    thumbnailer: Thumbnailer,
    tokens: TokenAdmin,
    trusted_keys: TrustedKeys,
    verifiers: Verifiers,
    webhooks: Webhooks,
    url: str,
) -> Api:
    """Build the application; `url` is where it is reached."""
    compatible = Mount(
        "/api",
        Envelopes(),
        (
            *token_operations(tokens, TokenKind.PUBLISH),
            *token_operations(tokens, TokenKind.SUBSCRIBE),
            *cluster_operations(clusters, accounts),
            *account_operations(accounts, clusters.names),
            *recording_operations(),
            *analytics_operations(),
            *webhook_operations(webhooks),
            *stream_operations(streams, tokens),
            *thumbnail_operations(thumbnailer),
        ),
    )
    native = Mount(
        "/v1",
        Problems(),
        (
            *api_secret_operations(api_secrets),
            *application_operations(applications),
            *delivery_operations(webhooks),
            *verifier_operations(verifiers, minter),
            *playback_token_operations(playback, clock),
            *stream_group_operations(groups),
            *token_value_operations(tokens, children, child_store, clock),
            *trusted_key_operations(trusted_keys, children, child_store, clock),
        ),
    )
    published = Mount("/.well-known", Problems(), published_operations(signing_keys, url))
    oauth = Mount("/v1/auth", OAuth(), api_token_operations(applications, api_tokens))
    clients = Mount("/v2", OAuth(), client_token_operations(api_tokens))
    splay = Mount(PATH, Splay(), splay_operations(playback, clock))
    mounts = (compatible, splay, native, oauth, clients, published)
    document = Mount("/openapi", Problems(), document_operations(mounts, url))
    return Api((*mounts, document), authenticate=callers.authenticate)
