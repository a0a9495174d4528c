"""Readers of a dashboard without a browser: what a page asks of the server, over the connection of a browser."""

from __future__ import annotations

import time

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect
from websockets.typing import Subprotocol


def fetch(address: str, page: str, query: str, seconds: float) -> float:
    """Opens a page in a session of its own and takes all that it shows; returns how many seconds that took.

    Args:
        address: of the dashboard, `http://...`.
        page: the last part of the page's address; empty for the first page.
        query: what follows the question mark.
        seconds: patience.

    Raises:
        RuntimeError: the page shows an exception, or another title than one of results.
        TimeoutError: it is not there in time.
    """
    began = time.perf_counter()
    place = address.replace("http", "ws", 1) + "/_stcore/stream"
    with connect(place, max_size=None, subprotocols=[Subprotocol("streamlit")], open_timeout=seconds) as wire:
        asked = BackMsg()
        asked.rerun_script.query_string = query
        asked.rerun_script.page_name = page
        wire.send(asked.SerializeToString())
        titles = []
        while (left := began + seconds - time.perf_counter()) > 0:
            message = ForwardMsg()
            message.ParseFromString(bytes(wire.recv(timeout=left)))  # type: ignore[arg-type]
            kind = message.WhichOneof("type")
            if kind == "delta":
                element = message.delta.new_element
                if element.HasField("exception"):
                    raise RuntimeError(f"{page}?{query}: {element.exception.type}: {element.exception.message}")
                if element.HasField("heading") and element.heading.tag == "h1":
                    titles.append(element.heading.body)
            elif kind == "script_finished":
                return _finished(f"{page}?{query}", titles, time.perf_counter() - began)
    raise TimeoutError(f"{page}?{query}: not there within {seconds:.0f} s")


def _finished(place: str, titles: list[str], seconds: float) -> float:
    from tests.load.browsers import BAD_TITLES

    if len(titles) != 1 or titles[0] in BAD_TITLES:
        raise RuntimeError(f"{place}: its titles are {titles}")
    return seconds
