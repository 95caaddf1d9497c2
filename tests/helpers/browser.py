"""A page in headless Chromium, over the DevTools protocol: at any width, dark or on paper."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import websocket_connect

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --hide-scrollbars "
    "--remote-debugging-port=0"
)
PATIENCE = 120  # seconds
LARGEST = 2**28  # bytes of a message


@dataclass
class Seen:
    """What a page did."""

    value: Any
    """What the script returned."""
    faults: list[str] = field(default_factory=list)
    """Errors and warnings, and whatever the page asked the network for."""
    answers: dict[str, Any] = field(default_factory=dict)
    """Method of `after` -> its answer."""


def visit(
    page: Path,
    script: str,
    folder: Path,
    *,
    width: int = 1280,
    height: int = 900,
    dark: bool = False,
    fragment: str = "",
    after: dict[str, dict[str, Any]] | None = None,
) -> Seen:
    """Open a page and run a script, the body of an async function, once it has loaded. folder: for
    the profile of the browser. after: methods of the protocol that are called in the end."""
    with _chromium(folder) as port:
        session = _Session(port)
        return asyncio.run(session.visit(page, script, width, height, dark, fragment, after or {}))


@contextmanager
def _chromium(folder: Path) -> Iterator[int]:
    profile = folder / "profile"
    command = [str(CHROMIUM), *FLAGS.split(), f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if b"DevTools listening" in line:
                yield int(line.split(b":")[-1].split(b"/")[0])
                return
        raise AssertionError("chromium did not start")
    finally:
        process.kill()
        process.wait()


class _Session:
    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: dict[int, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.sent = 0

    async def visit(
        self,
        page: Path,
        script: str,
        width: int,
        height: int,
        dark: bool,
        fragment: str,
        after: Any,
    ) -> Seen:
        pages = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{self.port}/json/list")
        address = json.loads(pages.body)[0]["webSocketDebuggerUrl"]
        self.socket = await websocket_connect(address, max_message_size=LARGEST)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        await self.call("Page.navigate", url=f"file://{page}{fragment}")
        await self.until("Page.loadEventFired")
        body = f"(async () => {{ {script} }})()"
        answer = await self.call(
            "Runtime.evaluate", expression=body, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        answers = {method: await self.call(method, **options) for method, options in after.items()}
        self.socket.close()
        return Seen(answer["result"].get("value"), self.faults(page), answers)

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.sent += 1
        number = self.sent
        message = {"id": number, "method": method, "params": parameters}
        await self.socket.write_message(json.dumps(message))
        while number not in self.answers:
            await self.receive()
        answer = self.answers.pop(number)
        assert "error" not in answer, answer
        return answer["result"]

    async def until(self, event: str) -> None:
        while not any(seen["method"] == event for seen in self.events):
            await self.receive()

    async def receive(self) -> None:
        text = await asyncio.wait_for(self.socket.read_message(), PATIENCE)
        assert text is not None, "chromium has ended"
        message = json.loads(text)
        if "id" in message:
            self.answers[message["id"]] = message
        else:
            self.events.append(message)

    def faults(self, page: Path) -> list[str]:
        faults = []
        for event in self.events:
            method, of = event["method"], event["params"]
            if method == "Runtime.exceptionThrown":
                details = of["exceptionDetails"]
                faults.append(str(details.get("exception", {}).get("description", details["text"])))
            elif method == "Log.entryAdded" and of["entry"]["level"] in ("error", "warning"):
                faults.append(of["entry"]["text"])
            elif method == "Runtime.consoleAPICalled":
                faults.append(f"console: {[one.get('value') for one in of['args']]}")
            elif method == "Network.requestWillBeSent":
                url = of["request"]["url"]
                if not url.startswith(("data:", "blob:", f"file://{page}")):
                    faults.append(f"request: {url}")
        return faults
