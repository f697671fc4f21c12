"""What an answer that is no answer means, and what to do about it.

Identity-Aware Proxy's own answers: https://cloud.google.com/iap/docs/authentication-howto and its troubleshooting
pages; the bodies are what it really says.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import SplitResult, urlsplit

from airflow_elt_provider.errors import AnswerLostError, ConfigurationError, EltError, RateLimitedError
from airflow_elt_provider.remotes.auth import is_from_iap
from airflow_elt_provider.remotes.flow import Answer, Request
from airflow_elt_provider.remotes.settings import RemoteSettings


class NoSuchApiError(ConfigurationError):
    """The server is there, and answers a web page where its API should be."""


DEFAULT_RETRY_AFTER: Final = 30.0
SHORTEST_RETRY_AFTER: Final = 1.0
LONGEST_RETRY_AFTER: Final = 3600.0
_LOGIN_HOST: Final = "accounts.google.com"
_AUDIENCE: Final = re.compile(r"aud' claim \(([^()]{0,200})\) doesn't match expected value \(([^()]{0,200})\)")
_JUDGED: Final = 4096
"""Bytes of a body that are looked at: it is the server's, and of any size."""
_OK, _MULTIPLE, _BAD, _UNAUTHORIZED, _FORBIDDEN = 200, 300, 400, 401, 403
_PROXY_AUTH, _TOO_MANY, _SERVER = 407, 429, 500


def refusal(request: Request, answer: Answer, settings: RemoteSettings) -> EltError | None:
    """Return the error that an answer is, or None where it is the application's answer to the request."""
    status = answer.status
    if _MULTIPLE <= status < _BAD:
        return _redirected(answer, settings)
    if is_from_iap(answer) and status in {_UNAUTHORIZED, _FORBIDDEN}:
        return _refused_by_iap(answer, settings)
    if status in {_UNAUTHORIZED, _FORBIDDEN, _PROXY_AUTH}:
        return _refused_by_application(request, answer, settings)
    if not answer.is_json and request.accept == "application/json" and _is_page(answer):
        return _page(request, answer, settings)
    return _busy(request, answer, settings)


def _busy(request: Request, answer: Answer, settings: RemoteSettings) -> EltError | None:
    status = answer.status
    if status == _TOO_MANY:
        seconds = retry_after(answer)
        return RateLimitedError(
            f"{request} at {settings.base_url}: too many requests; it asks for {seconds:.0f} s.{_said(answer)}",
            retry_after=seconds,
        )
    if status >= _SERVER:
        return AnswerLostError(f"{request} at {settings.base_url} answered {status}.{_said(answer)}")
    return None


def retry_after(answer: Answer) -> float:
    """Return the seconds that ``Retry-After`` asks for (RFC 9110, 10.2.3: seconds or a date), 30 where it is absent.

    A date is reckoned from the answer's own, so that a skewed clock of ours does not matter.
    """
    text = answer.headers.get("retry-after", "").strip()
    until = _date(text)
    if text.isdecimal():
        seconds = float(text)
    elif until:
        seconds = (until - (_date(answer.headers.get("date", "")) or datetime.now(UTC))).total_seconds()
    else:
        return DEFAULT_RETRY_AFTER
    return min(max(seconds, SHORTEST_RETRY_AFTER), LONGEST_RETRY_AFTER)


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text[:100])
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    except (IndexError, OverflowError, TypeError, ValueError):
        return None


def target_of(answer: Answer) -> SplitResult:
    """Return where a redirect leads; an empty URL where that is none."""
    try:
        return urlsplit(answer.headers.get("location", ""))
    except ValueError:
        return urlsplit("")


def _redirected(answer: Answer, settings: RemoteSettings) -> EltError:
    target = target_of(answer)
    if target.hostname == _LOGIN_HOST:
        return _login_wanted(settings)
    place = f"{target.scheme}://{target.netloc}" if target.netloc else "another path"
    return ConfigurationError(
        f"{answer.url} redirects to {place}; credentials are not sent there.",
        hint="correct host and schema of the connection (https? a path prefix?)",
    )


def _login_wanted(settings: RemoteSettings) -> EltError:
    if settings.iap is None:
        return ConfigurationError(
            f"{settings.origin} is behind Identity-Aware Proxy, which wants a login: no token was sent.",
            hint=f"set iap_mode=auto in connection {settings.name!r} (and iap_audience, the OAuth client id)",
        )
    return ConfigurationError(
        f"Identity-Aware Proxy at {settings.origin} wants a login although a token was sent.",
        hint="is an HTTP proxy between that removes Proxy-Authorization? Or is another login in front of it?",
    )


def _refused_by_iap(answer: Answer, settings: RemoteSettings) -> EltError:
    text, where = _start(answer), f"Identity-Aware Proxy at {settings.origin}"
    if answer.status == _FORBIDDEN:
        return ConfigurationError(
            f"{where} knows the caller and does not let it in.{_said(answer)}",
            hint="grant roles/iap.httpsResourceAccessor on the backend service to the service account",
        )
    if "empty token" in text.lower():
        return _login_wanted(settings)
    audience = _AUDIENCE.search(text)
    if audience or "audience" in text.lower():
        pair = f": the token is for {audience[1]!r}, expected is {audience[2]!r}" if audience else ""
        # Without a pair it is a client of Google's own, which takes ID tokens from listed programs only.
        expected = audience[2] if audience else "an OAuth client id open to programs, or use iap_mode=signed_jwt"
        return ConfigurationError(f"{where}: wrong audience{pair}.", hint=f"set iap_audience to {expected}")
    if "email" in text.lower():
        return ConfigurationError(
            f"{where}: the token names no e-mail address.",
            hint="use a service account: iap_impersonate, a key, or the metadata server",
        )
    if re.search(r"expired|future|too early|clock|issued at|\biat\b|\bexp\b", text, re.IGNORECASE):
        return ConfigurationError(
            f"{where}: the token has expired or is from the future.{_said(answer)}",
            hint="set the clock of the machine that mints tokens (NTP)",
        )
    return ConfigurationError(
        f"{where} refused the token.{_said(answer)}", hint="check iap_mode, and whose key or service account signs"
    )


def _refused_by_application(request: Request, answer: Answer, settings: RemoteSettings) -> EltError:
    what = f"{request} at {settings.base_url}"
    if answer.status == _PROXY_AUTH:
        return ConfigurationError(f"{what}: the HTTP proxy wants a login.", hint="put it into proxy")
    if answer.status == _FORBIDDEN:
        return ConfigurationError(
            f"{what}: {_user(settings)} may not do that (403).{_said(answer)}", hint="grant it the right in the remote"
        )
    ours = "" if settings.auth != "none" else " The connection has no credentials for the application."
    return ConfigurationError(
        f"{what}: the application refused {_user(settings)} (401).{ours}{_said(answer)}",
        hint=f"correct auth, login and password of connection {settings.name!r}",
    )


def _user(settings: RemoteSettings) -> str:
    return f"{settings.user!r} ({settings.auth})" if settings.user else f"the caller (auth={settings.auth})"


def _is_page(answer: Answer) -> bool:
    kind = answer.headers.get("content-type", "")
    return answer.status == _OK and (kind.startswith("text/html") or answer.content[:_JUDGED].lstrip()[:1] == b"<")


def _page(request: Request, answer: Answer, settings: RemoteSettings) -> EltError:
    text = _start(answer)
    if _LOGIN_HOST in text or re.search(r"type=.?password|sign ?in|log ?in", text, re.IGNORECASE):
        return ConfigurationError(
            f"{request} at {settings.base_url} answered with a login page.",
            hint="a proxy stands in front: for Identity-Aware Proxy set iap_mode and iap_audience",
        )
    return NoSuchApiError(
        f"{request} at {settings.base_url} answered with a web page instead of JSON: the API is not there.",
        hint="correct the host's path prefix, or the API dialect (api) of the connection",
    )


def _said(answer: Answer) -> str:
    """Return the server's own words, on one line and short; "" for none."""
    text = re.sub(r"<[^<>]{0,500}>", " ", _start(answer))
    words = " ".join(text.split())[:300]
    return f" It says: {words}" if words else ""


def _start(answer: Answer) -> str:
    return answer.content[:_JUDGED].decode("utf-8", errors="replace")
