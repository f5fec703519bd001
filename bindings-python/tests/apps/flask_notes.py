"""Notes, with what applications of Flask usually do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flask


def notes() -> flask.Flask:
    """Notes of their own."""
    app = flask.Flask("notes")
    app.secret_key = "for tests only"
    kept: dict[str, str] = {}

    @app.put("/notes/<name>")
    def put(name: str) -> Any:
        kept[name] = flask.request.get_data(as_text=True)
        return "", 201, {"location": flask.url_for("get", name=name, _external=True)}

    @app.get("/notes/<name>")
    def get(name: str) -> Any:
        return kept[name] if name in kept else flask.abort(404)

    @app.post("/upload")
    def upload() -> Any:
        file = flask.request.files["file"]
        size = sum(map(len, iter(lambda: file.stream.read(2**16), b"")))
        return {"name": file.filename, "size": size, "note": flask.request.form["note"]}

    @app.get("/lines")
    def lines() -> Any:
        def each() -> Iterator[str]:
            for number in range(3):
                yield f"{flask.request.args['word']} {number}\n"

        return flask.stream_with_context(each())

    @app.post("/login")
    def login() -> Any:
        flask.session["name"] = flask.request.json["name"]
        return flask.redirect(flask.url_for("me"))

    @app.get("/me")
    def me() -> Any:
        return flask.session.get("name", "nobody")

    @app.get("/fail")
    def fail() -> Any:
        raise ZeroDivisionError("in a view")

    return app
