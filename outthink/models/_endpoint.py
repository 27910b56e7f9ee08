"""Where a server is and how it does: endpoints, their circuits, proxies and certificates."""

from __future__ import annotations

import email.utils
import functools
import ssl
from dataclasses import dataclass, field
from time import monotonic, time
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
from multidict import CIMultiDict
from yarl import URL

from outthink.core.errors import BadInput

LOCAL = ("127.0.0.1", "localhost", "::1")
#: failures in a row that open a circuit, and for how long: seconds at first and at most
FAILURES, FIRST, LONGEST = 3, 1.0, 60.0


def check_url(url: str, where: str) -> None:
    """Raise ``BadInput`` for what is no address of a server; a secret in it is not repeated."""
    shown = repr(url.rpartition("@")[2] if "@" in url else url)[:120]
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        known = known and bool(URL(url).host)
    except ValueError:
        raise BadInput(f"{where}={shown} is no address of a server") from None
    if not url.isprintable() or " " in url:
        raise BadInput(f"{where}={shown} is no address of a server")
    if not known:
        raise BadInput(f"{where}={shown} must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise BadInput(
            f"{where}: put no name or password into the address (of {shown}): a key belongs into "
            "the variable that api_key_env names"
        )
    if parts.query or parts.fragment:
        raise BadInput(f"{where}={shown}: an address ends before '?' and '#'")


def check_key(key: str, where: str) -> None:
    """Raise ``BadInput`` for a key that no header can carry."""
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise BadInput(f"{where} holds a space or a character that a key cannot have: set it anew")


@dataclass(eq=False)
class Endpoint:
    """One server of a model: its address, its key (never shown), and how it does.

    ``model``: the model's name there, where it is another.  A circuit opens after ``FAILURES`` calls
    in a row that failed (no connection, no answer in time, 5xx), for ``FIRST`` seconds and twice as
    long each further time; then one call is let through, and closes it or opens it anew.
    """

    base_url: str
    key: str = field(default="", repr=False)
    model: str | None = None
    #: calls under way, and failures in a row
    in_flight: int = field(default=0, init=False)
    failures: int = field(default=0, init=False)
    #: by the monotonic clock: the end of an open circuit (0: closed), and of a server's wish to rest
    open_until: float = field(default=0.0, init=False)
    busy_until: float = field(default=0.0, init=False)
    #: is a call under way that tries whether it is well again?
    trial: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        check_url(self.base_url, "endpoint")
        self.key = self.key.strip()
        check_key(self.key, f"the key of {urlsplit(self.base_url).netloc}")
        self.base = self.base_url.rstrip("/")
        self.host = urlsplit(self.base).netloc
        self.local = (urlsplit(self.base).hostname or "") in LOCAL
        #: what goes with every request, over what a caller gives
        self.headers: CIMultiDict[str] = CIMultiDict({"Accept-Encoding": "identity"})
        if self.key:
            self.headers["Authorization"] = f"Bearer {self.key}"
        self._span = 0.0

    def ready(self, now: float) -> bool:
        """Is its circuit closed (or due for a trial), and does it not rest?"""
        return now >= self.busy_until and (
            not self.open_until or (now >= self.open_until and not self.trial)
        )

    def failed(self) -> None:
        """A call came to nothing."""
        self.failures += 1
        now = monotonic()
        # calls that were under way when it opened say nothing new
        if self.failures >= FAILURES and now >= self.open_until:
            self._span = min(2 * self._span, LONGEST) if self._span else FIRST
            self.open_until = now + self._span

    def answers(self) -> None:
        """It answers a call: whether all of the answer comes is not known yet."""
        self.open_until = 0.0
        self.failures = min(self.failures, FAILURES - 1)

    def well(self) -> None:
        """It answered a call to the end."""
        self.open_until, self.failures, self._span = 0.0, 0, 0.0

    def rest(self, seconds: float) -> None:
        """It asks to be left alone for a while."""
        self.busy_until = max(self.busy_until, monotonic() + seconds)


def proxy_of(base: str) -> URL | None:
    """The proxy that the environment names for an address; ``ValueError`` for one of no use."""
    parts = urlsplit(base)
    found = getproxies()
    named = found.get(parts.scheme) or found.get("all")
    if not named or proxy_bypass(parts.netloc):
        return None
    try:
        proxy = URL(named if "://" in named else f"http://{named}")
        known = proxy.scheme in ("http", "https") and bool(proxy.host) and proxy.port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError("a proxy must begin with http:// or https:// and name a host")
    return proxy


@functools.cache
def trusted(file: str | None, folder: str | None) -> ssl.SSLContext:
    """The certificates that are trusted: those of a file or folder, else of this machine and certifi."""
    context = ssl.create_default_context(cafile=file, capath=folder)
    if file is None and folder is None:
        context.load_verify_locations(certifi.where())
    return context


def retry_after(value: str | None) -> float | None:
    """Seconds to wait by a Retry-After header (a number or a date), at most 60."""
    if not value:
        return None
    try:
        return min(max(float(value), 0.0), 60.0)
    except ValueError:
        try:
            when = email.utils.parsedate_to_datetime(value).timestamp()
        except (TypeError, ValueError, OverflowError):
            return None
        return min(max(when - time(), 0.0), 60.0)
