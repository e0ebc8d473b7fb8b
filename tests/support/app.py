"""An application in this process, and the simplest client for it.

client = moorage_client(tmp_path, microversion="1.39")
status, headers, body = client.get("/resource_providers")
"""

from collections.abc import Mapping
from pathlib import Path

from tests.support.client import Client, WSGIApp, over_wsgi
from tests.support.deployments import Deployment, Option, Subject
from tests.support.peer import load_peer

NEWEST = "1.39"


def load_moorage(conf_path: Path) -> WSGIApp:
    """Moorage's application with this configuration, its schema in place."""
    from moorage.serve import load_app
    from moorage.settings import load_settings

    app: WSGIApp = load_app(load_settings(config_files=[str(conf_path)]))
    return app


def load(subject: Subject, deployment: Deployment) -> WSGIApp:
    """The application of a deployment, in this process."""
    loaders = {Subject.MOORAGE: load_moorage, Subject.PEER: load_peer}
    return loaders[subject](deployment.write(subject))


def moorage_client(
    directory: Path,
    *,
    microversion: str | None = NEWEST,
    options: Mapping[str, Mapping[str, Option]] | None = None,
    subject: Subject = Subject.MOORAGE,
) -> Client:
    """A client of a new Moorage on an empty SQLite file below ``directory``."""
    deployment = Deployment(
        directory / "conf", f"sqlite:///{directory / 'books.db'}", options or {}
    )
    return Client(over_wsgi(load(subject, deployment)), microversion=microversion)
