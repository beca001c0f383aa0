"""The application of `ilk label`: the labelling page, and after an export the page that answers."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette

from ilk.labelling.session import LabellingSession
from ilk.serve.app import NavigationItem, ServerState, create_app
from ilk.serve.decoding import Decoder
from ilk.serve.label_exports import ExportJobs
from ilk.serve.label_images import ImageFiles
from ilk.serve.label_routes import LabelRoutes
from ilk.serve.model_host import ModelHost
from ilk.serve.model_routes import list_model_routes

ASK, LABEL = NavigationItem("/", "Ask"), NavigationItem("/label", "Label")


def create_label_app(
    session: LabellingSession,
    *,
    token: str = "",
    hosts: tuple[str, ...] = (),
    decoder: Decoder | None = None,
) -> Starlette:
    """Return the application for a session.

    Args:
        session: The open session; it stays open when the application ends.
        token: What requests must carry; "" for none.
        hosts: Further host names that requests may name.
        decoder: Decodes images; a new one by default.
    """
    if decoder is None:
        decoder = Decoder()
        decoder.start()
    state = ServerState(token=token, hosts=hosts, decoder=decoder)
    exports = ExportJobs(session, lambda folder: ask_model(app, folder))
    routes = LabelRoutes(session, ImageFiles(session, decoder), exports)
    app = create_app(state, routes.list_routes(), [LABEL])
    app.state.exports = exports
    return app


def ask_model(app: Starlette, folder: Path) -> str:
    """Let a running application answer with the model of a folder; return the page's address.

    An older model is replaced.
    """
    from ilk.artifacts.loading import load

    state = app.state.server
    assert isinstance(state, ServerState)
    assert state.decoder is not None
    old, state.host = state.host, ModelHost(folder, load, state.decoder, state.limits)
    if old is None:
        app.router.routes[:0] = list_model_routes()
        state.navigation = (ASK, *state.navigation)
    else:
        old.close()
    return ASK.path
