"""Trying again: which failures may pass, how often, and how long to wait."""

from collections.abc import Callable, Mapping

from dpbuild.adapters.registry.transport import Answer, Body, ConnectionFailed, Transport

# Answers that may be different the next time (RFC 9110, RFC 6585).
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
# Tries in all, and tries for a host that cannot be reached, which waiting seldom mends.
ATTEMPTS = 4
ATTEMPTS_UNREACHABLE = 2
# Seconds: the first pause, doubled each time, and the longest that a registry may ask us to wait.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0


class Retrier:
    """Sends a request until it is answered with something that will stay so."""

    def __init__(self, transport: Transport, sleep: Callable[[float], None]) -> None:
        self.transport = transport
        self._sleep = sleep

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Callable[[], Body] | None = None,
        attempts: int = ATTEMPTS,
        mend: Callable[[], str] | None = None,
    ) -> Answer:
        """The answer to one request, after at most ``attempts`` tries. Raises ConnectionFailed, RegistryError.

        ``mend`` is asked for another address when a connection broke.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = self.transport.send(method, url, headers, body() if body else None)
            except ConnectionFailed as failed:
                if attempt >= (attempts if failed.connected else min(attempts, ATTEMPTS_UNREACHABLE)):
                    raise
                if mend is not None and failed.connected:
                    url, mend = mend(), None
                else:
                    self.pause(attempt)
                continue
            if answer.status not in TRANSIENT or attempt >= attempts:
                return answer
            asked = retry_after(answer.header("Retry-After"), answer.header("Date"))
            if asked is not None and asked > LONGEST_PAUSE:
                return answer
            answer.finish()
            self.pause(attempt, asked)

    def pause(self, attempt: int, asked: float | None = None) -> None:
        """Wait before the next try, as long as the registry asked for or longer each time."""
        self._sleep(asked if asked is not None else FIRST_PAUSE * 2 ** (attempt - 1))


def retry_after(value: str, date: str) -> float | None:
    """Seconds of a Retry-After header; an instant is taken relative to the answer's own ``Date``."""
    if value.strip().isdigit():
        return float(value)
    if not value.strip():
        return None
    from email.utils import parsedate_to_datetime

    try:
        pause = parsedate_to_datetime(value) - parsedate_to_datetime(date)
    except (ValueError, TypeError):
        return None
    return max(0.0, pause.total_seconds())
