"""Answers of the interface as files for a person: `PATH.csv` asks what `PATH` asks, as if `Accept` named `text/csv`."""

from __future__ import annotations

from jobmeter.serve.answer import Endpoint, Message, Receive, Scope, Send

CSV_PATHS = ("/v2/records", "/v2/samples", "/v2/totals")


def as_csv(endpoint: Endpoint, name: str) -> Endpoint:
    """The endpoint, asked for CSV, whose answer a browser stores under `name`."""
    disposition = (b"content-disposition", f'attachment; filename="{name}.csv"'.encode())

    async def serve(scope: Scope, receive: Receive, send: Send) -> int:
        headers = [(key, value) for key, value in scope["headers"] if key != b"accept"]
        scope["headers"] = [*headers, (b"accept", b"text/csv")]

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                message = {**message, "headers": [*message["headers"], disposition]}
            await send(message)

        return await endpoint(scope, receive, named)

    return serve
