"""What browsers are told so that a page can do nothing it should not, and which forms are believed to be ours."""

from __future__ import annotations

from jobmeter.serve.answer import Header, Scope

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing inline and nothing from elsewhere, and nobody may put a page into a frame."""

HEADERS: tuple[Header, ...] = (
    (b"content-security-policy", POLICY.encode()),
    (b"cache-control", b"private, no-store"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)


def foreign_form(scope: Scope) -> str | None:
    """Why a posted form is not believed to come from a page of this server, or None when it does.

    Browsers say where a form comes from in `Sec-Fetch-Site` (since 2023 all of them) and in `Origin`; no page can
    change that. What says neither is no browser of today, and is refused as well.
    """
    said = {name: bytes(value) for name, value in scope["headers"]}
    site = said.get(b"sec-fetch-site")
    origin = said.get(b"origin")
    if site is not None and site != b"same-origin":
        return "the form was sent from another site"
    if origin is None:
        return None if site is not None else "the form does not say where it comes from"
    _, _, host = origin.partition(b"://")
    return None if host and host == said.get(b"host") else "the form was sent from another site"
