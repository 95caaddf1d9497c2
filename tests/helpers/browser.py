"""Headless Chromium, driven by the DevTools protocol over a pipe."""

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --remote-debugging-pipe"
)
FAULTS = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
PATIENCE = 120  # seconds for an answer
KEYS = {
    "Space": (" ", 32),
    "Enter": ("\r", 13),
    "Escape": ("", 27),
    "Tab": ("\t", 9),
    "ArrowLeft": ("", 37),
    "ArrowDown": ("", 40),
}


class Browser:
    """One tab. `close` ends the browser."""

    def __init__(self, profile: Path) -> None:
        reads, self.writer = os.pipe()
        self.reader, writes = os.pipe()
        # above the numbers that the browser reads and writes, 3 and 4
        inherited = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (reads, writes)]
        command = 'exec "$@" 3<&{} 4>&{}'.format(*inherited)
        flags = [*FLAGS.split(), f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            ["bash", "-c", command, "bash", str(CHROMIUM), *flags],
            pass_fds=inherited,
            stderr=subprocess.DEVNULL,
        )
        for end in (reads, writes, *inherited):
            os.close(end)
        self.numbers = itertools.count(1)
        self.unread = b""
        self.events: list[dict[str, Any]] = []
        self.session: str | None = None
        targets = self("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attached = self("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a method of the protocol; what the browser tells meanwhile is in
        `events`."""
        number = next(self.numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writer, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self.unread:
            ready, _, _ = select.select([self.reader], [], [], PATIENCE)
            assert ready, f"the browser says nothing for {PATIENCE} s"
            part = os.read(self.reader, 1 << 20)
            assert part, "the browser ended"
            self.unread += part
        line, self.unread = self.unread.split(b"\0", 1)
        return json.loads(line)

    def run(self, script: str) -> Any:
        """The value of a script."""
        answer = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, page: Path, width: int = 1400, dark: bool = False, address: str = "") -> None:
        """Open a file in a window this wide. address: what follows the name of the file."""
        self.look(width, dark=dark)
        for url in ("about:blank", f"{page.absolute().as_uri()}{address}"):
            self.events.clear()
            self("Page.navigate", url=url)
            # a script that is run while pages change may have no answer
            while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
                self.events.append(self._read())

    def look(self, width: int, dark: bool = False, media: str = "") -> None:
        """Take a width, a colour scheme and a medium."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", media=media, features=[scheme])
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self("Emulation.setDeviceMetricsOverride", **size)

    def press(self, key: str) -> None:
        """Press and release a key of KEYS."""
        text, code = KEYS[key]
        names = {"key": text.strip() or key, "code": key, "windowsVirtualKeyCode": code}
        if key == "Space":
            names["key"] = " "
        self("Input.dispatchKeyEvent", type="keyDown", text=text, **names)
        self("Input.dispatchKeyEvent", type="keyUp", **names)

    def faults(self) -> list[dict[str, Any]]:
        """What the console shows, and requests for anything but the page and what is in it."""
        self.run("0")  # events before this answer have arrived
        found = [event["params"] for event in self.events if event["method"] in FAULTS]
        for event in self.events:
            if event["method"] == "Network.requestWillBeSent":
                url = event["params"]["request"]["url"]
                is_page = event["params"].get("type") == "Document" and url.startswith("file:")
                if not is_page and not url.startswith("data:"):
                    found.append({"request": url})
        return found

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(
            self("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"]
        )

    def close(self) -> None:
        """End the browser."""
        self("Browser.close")
        self.process.wait(30)
        os.close(self.writer)
        os.close(self.reader)
