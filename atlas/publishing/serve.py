"""Serve a finished site from this machine."""

import os
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click

from atlas.errors import UserError
from atlas.store import Store


class Handler(SimpleHTTPRequestHandler):
    """Serves what lies in the site itself: a link in it may lead anywhere."""

    def translate_path(self, path: str) -> str:
        """Return the file for an address; one that is not there instead of one outside."""
        file = super().translate_path(path)
        site = os.path.realpath(self.directory)
        inside = Path(os.path.realpath(file)).is_relative_to(site)
        return file if inside else str(Path(site) / "404")


def serve(store: Store, port: int) -> None:
    """Serve the site on 127.0.0.1 until interrupted.

    Raises
    ------
    UserError
        The site has not been built, or the port is taken.
    """
    site = store.root / "site"
    if not (site / "index.html").is_file():
        raise UserError(f"{site} is not built: run `atlas site {store.root}` first")
    handler = partial(Handler, directory=str(site))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise UserError(
            f"port {port} cannot be used ({error.strerror}): choose another with --port"
        ) from error
    with server:
        click.echo(f"http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)")
        server.serve_forever()
