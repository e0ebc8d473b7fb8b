"""The version document of /moorage/v1."""

from typing import Final

from moorage import __version__
from moorage.api.call import Call, Reply
from moorage.api.v1.endpoints import PREFIX, Document, Endpoint, reply_with


class Link(Document, frozen=True, kw_only=True):
    """Where something about the version is; relative to the service."""

    rel: str
    href: str


class Version(Document, frozen=True, kw_only=True):
    """One version of the API."""

    id: str
    status: str
    release: str
    links: tuple[Link, ...]


class VersionAnswer(Document, frozen=True, kw_only=True):
    """What this path is."""

    version: Version


def handle_show_version(call: Call) -> Reply:
    """Tell what is served here."""
    links = (
        Link(rel="self", href=f"{call.mount}{PREFIX}"),
        Link(rel="describedby", href=f"{call.mount}{PREFIX}/openapi.json"),
    )
    version = Version(id="v1", status="CURRENT", release=__version__, links=links)
    return reply_with(VersionAnswer(version=version))


VERSION: Final = (
    Endpoint(
        "show_version",
        "GET",
        "",
        None,
        handle_show_version,
        "The version of this API, and where it is described.",
        answer=VersionAnswer,
    ),
)
