"""The worker that sends: claims deliveries that are due, signs them, calls, writes down what became of it.

At least once: a delivery is claimed before it is attempted and done only when it was answered, so what a worker that died was
sending is sent again. A slow address holds nobody else: it has a few attempts under way at a time, and one after a failure.
Signatures and headers: docs/webhooks.md.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
from collections.abc import Callable
from typing import Final

from stagedoor.model.errors import ConfigError, Unavailable
from stagedoor.model.secret import Secret
from stagedoor.model.webhook import DeliveryState, retry_seconds
from stagedoor.service.ports import Clock
from stagedoor.service.webhook_ports import Claimed, DeliveryQueue, Outcome, Sender, Sent
from stagedoor.service.webhooks import place_of
from stagedoor.tokens.keyring import Keyring

_log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.5
"""How soon a delivery that becomes due is seen."""

AT_ONCE: Final = 64
"""How many attempts are under way at a time, over all webhooks."""

AT_ONCE_FOR_ONE: Final = 4
"""The same for one webhook."""

LOST_SECONDS: Final = 30.0
"""After so long an attempt counts as lost; none takes that long."""

GRACE_SECONDS: Final = 2.0
"""How long attempts under way may go on when the worker is told to end."""

DELIVERED_KEPT_SECONDS: Final = 3 * 24 * 3600.0
DEAD_KEPT_SECONDS: Final = 14 * 24 * 3600.0
IMAGES_KEPT_SECONDS: Final = 2 * 3600.0
"""How long deliveries are kept after they were added."""

_GATHER_SECONDS: Final = 0.02
"""How long outcomes are gathered, to be written down together."""

_BURY_SECONDS: Final = 5.0
_TIDY_SECONDS: Final = 600.0


class Deliverer:
    """Sends what is due."""

    def __init__(
        self,
        *,
        queue: DeliveryQueue,
        sender: Callable[[], Sender],
        keyring: Keyring,
        clock: Clock,
        chance: Callable[[], float],
        may_work: Callable[[], bool],
    ) -> None:
        """Take the collaborators. The sender is made when something is to be sent.

        `chance`: a number from 0 to 1 that spreads retries. `may_work`: of all processes one does the work.
        """
        self._queue = queue
        self._make_sender = sender
        self._sender: Sender | None = None
        self._keyring = keyring
        self._clock = clock
        self._chance = chance
        self._may_work = may_work
        self._woken = asyncio.Event()
        self._attempts: set[asyncio.Task[None]] = set()
        self._outcomes: list[Outcome] = []
        self._buried_at = self._tidied_at = float("-inf")

    def wake(self) -> None:
        """Look at once for what is due."""
        self._woken.set()

    async def run(self) -> None:
        """Send again and again, until cancelled; attempts under way may then end."""
        away = False
        try:
            while True:
                self._woken.clear()
                try:
                    if self._may_work():
                        await self.work()
                    else:
                        await self.write_down()
                    away = False
                except Unavailable as error:
                    if not away:
                        _log.warning("deliveries wait: %s", error.message)
                    away = True
                except Exception:  # noqa: BLE001  nothing that goes wrong once ends the worker
                    _log.exception("deliveries wait")
                await self._wait()
        finally:
            await self._end()

    async def work(self) -> int:
        """Write down what attempts came to, give up what is too old, begin attempts of what is due; return how many begin.

        Raises: Unavailable.
        """
        await self.write_down()
        now = self._clock()
        if now - self._buried_at >= _BURY_SECONDS:
            await self._queue.bury(now)
            self._buried_at = now
        if now - self._tidied_at >= _TIDY_SECONDS:
            await self._queue.forget_deliveries(
                now - DELIVERED_KEPT_SECONDS, now - DEAD_KEPT_SECONDS, now - IMAGES_KEPT_SECONDS
            )
            self._tidied_at = now
        free = AT_ONCE - len(self._attempts)
        if free <= 0:
            return 0
        claimed = await self._queue.claim(now, now + LOST_SECONDS, free, AT_ONCE_FOR_ONE)
        for one in claimed:
            task = asyncio.create_task(self._attempt(one), name="webhook")
            self._attempts.add(task)
            task.add_done_callback(self._attempts.discard)
        return len(claimed)

    async def write_down(self) -> None:
        """Keep what attempts came to; when the store does not answer, it is kept in mind.

        Raises: Unavailable.
        """
        outcomes, self._outcomes = self._outcomes, []
        if not outcomes:
            return
        try:
            await self._queue.finish(outcomes)
        except BaseException:
            self._outcomes = outcomes + self._outcomes
            raise

    async def settle(self) -> None:
        """Wait until no attempt is under way, and write down what they came to.

        Raises: Unavailable.
        """
        while self._attempts:
            await asyncio.wait(self._attempts)
        await self.write_down()

    async def close(self) -> None:
        """Close the connections."""
        if self._sender is not None:
            await self._sender.close()

    async def _attempt(self, claimed: Claimed) -> None:
        """Make one attempt."""
        try:
            sent = await self._send(claimed)
        except ConfigError as error:
            _log.error("webhook %d cannot be signed for: %s", claimed.webhook.id, error.message)
            sent = Sent(None, "its secret cannot be read; refresh it")
        self._outcomes.append(self._outcome(claimed, sent))
        self._woken.set()

    async def _send(self, claimed: Claimed) -> Sent:
        delivery, webhook = claimed.delivery, claimed.webhook
        secret = self._keyring.unseal(webhook.sealed, place_of(webhook.id))
        body = delivery.message.body
        headers = {
            "user-agent": "Stagedoor",
            **delivery.message.headers,
            **signatures(secret, delivery.message_id, int(self._clock()), body),
        }
        if self._sender is None:
            self._sender = self._make_sender()
        return await self._sender.send(webhook.terms.url, headers, body)

    def _outcome(self, claimed: Claimed, sent: Sent) -> Outcome:
        now, delivery = self._clock(), claimed.delivery
        if not sent.error:
            return Outcome(claimed, now, DeliveryState.DELIVERED, delivery.due_at, sent.status, "")
        due_at = now + retry_seconds(delivery.attempts, self._chance())
        state = DeliveryState.PENDING if due_at < delivery.deadline else DeliveryState.DEAD
        return Outcome(claimed, now, state, due_at, sent.status, sent.error)

    async def _wait(self) -> None:
        """Wait for an attempt to end, for new deliveries, or for a while."""
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return
        await asyncio.sleep(_GATHER_SECONDS)

    async def _end(self) -> None:
        """Let attempts under way end, for a while, and write down what they came to; the others are sent again."""
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=GRACE_SECONDS)
        for task in list(self._attempts):
            task.cancel()
        await asyncio.gather(*self._attempts, return_exceptions=True)
        try:
            await self.write_down()
        except Unavailable as error:
            _log.warning("what was delivered last is sent again: %s", error.message)


def signatures(secret: Secret, message_id: str, at: int, body: bytes) -> dict[str, str]:
    """Return the headers that prove where a message comes from; `secret` is base64, `at` in seconds since the epoch.

    The vendor's is HMAC-SHA1 over the body; that of Standard Webhooks HMAC-SHA256 over id, instant and body.
    """
    key = _key(secret)
    signed = b".".join((message_id.encode(), str(at).encode(), body))
    return {
        "x-millicast-signature": f"sha1={hmac.new(key, body, hashlib.sha1).hexdigest()}",
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}",
    }


def _key(secret: Secret) -> bytes:
    try:
        return base64.b64decode(secret.reveal(), validate=True)
    except binascii.Error:
        raise ConfigError("the secret is no base64") from None
