"""Shows a report in Chromium, by the DevTools protocol over pipes, and takes screenshots, for check-report.sh.

Usage: report-browser.py CHROMIUM report.html FOLDER
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

# Colour scheme and width in pixels of each screenshot.
VIEWS = [(scheme, width) for scheme in ("light", "dark") for width in (1100, 400)]


class Browser:
    """A Chromium that listens on file descriptor 3 and answers on 4: JSON, ended by a zero byte."""

    def __init__(self, program, profile):
        to_browser, self.requests = os.pipe()
        self.answers, from_browser = os.pipe()

        def plug():
            # Out of the way first, as one of them may be 3 or 4 itself.
            ends = os.dup(to_browser), os.dup(from_browser)
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe"]
        self.process = subprocess.Popen(
            [program, *flags, f"--user-data-dir={profile}"], preexec_fn=plug, close_fds=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.unread = b""
        self.count = 0
        self.events = []

    def call(self, method, session=None, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.requests, json.dumps(message).encode() + b"\0")
        while True:
            message = self.read()
            if message.get("id") == self.count:
                if "error" in message:
                    sys.exit(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def value(self, session, expression):
        return self.call("Runtime.evaluate", session, expression=expression)["result"]["value"]

    def read(self):
        while b"\0" not in self.unread:
            more = os.read(self.answers, 1 << 16)
            if not more:
                sys.exit("Chromium has ended")
            self.unread += more
        message, self.unread = self.unread.split(b"\0", 1)
        return json.loads(message)


def look(browser, page, scheme, width, shot):
    """Loads the page, saves a screenshot, and returns what is wrong with it."""
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Network", "Runtime", "Log"):
        browser.call(f"{domain}.enable", session)
    preference = {"name": "prefers-color-scheme", "value": scheme}
    browser.call("Emulation.setEmulatedMedia", session, features=[preference])
    browser.call("Emulation.setDeviceMetricsOverride", session, width=width, height=900, deviceScaleFactor=1,
                 mobile=False)
    browser.events.clear()
    browser.call("Page.navigate", session, url=page)
    # Not the load event: a late one can be of the empty page before.
    while browser.value(session, "document.readyState + ' ' + document.URL") != f"complete {page}":
        time.sleep(0.05)
    shown_width, shown_height = (
        browser.value(session, f"document.documentElement.{size}") for size in ("scrollWidth", "scrollHeight")
    )
    clip = {"x": 0, "y": 0, "width": width, "height": shown_height, "scale": 1}
    picture = browser.call("Page.captureScreenshot", session, captureBeyondViewport=True, clip=clip)["data"]
    shot.write_bytes(base64.b64decode(picture))

    faults = []
    if browser.value(session, "document.querySelectorAll('figure svg').length") == 0:
        faults.append("the page has no figure")
    if shown_width > width:
        faults.append(f"the page is {shown_width} pixels wide")
    for event in browser.events:
        params = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                address = params["request"]["url"]
                if address != page and not address.startswith("data:"):
                    faults.append(f"asks for {address}")
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled":
                faults.append(f"the console says {json.dumps(params)[:200]}")
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                faults.append(f"the log says {params['entry']['text']}")
    browser.call("Target.closeTarget", targetId=target)
    return faults


def main():
    program, page, folder = sys.argv[1:]
    page = pathlib.Path(page).resolve(strict=True)
    faults = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        for scheme, width in VIEWS:
            shot = pathlib.Path(folder) / f"{scheme}-{width}.png"
            found = look(browser, page.as_uri(), scheme, width, shot)
            print(f"{shot}: {'; '.join(found) or 'all is well'}")
            faults += found
        browser.call("Browser.close")
        browser.process.wait()
    if faults:
        sys.exit(f"{len(faults)} faults")


main()
