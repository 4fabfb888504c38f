"""Takes the pictures of docs/pictures: `python docs/take_pictures.py RUN_DIR SEARCH_DIR`, with Chromium installed."""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

PLACE = Path(__file__).parent / "pictures"
DESKTOP, PHONE = 1280, 390


def page(
    browser: Browser, path: Path, name: str, width: int, scheme: str, top: int = 0, height: int | None = None
) -> None:
    """A picture of the first ``height`` pixels of the report at ``path``."""
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    tab.goto(path.resolve().as_uri())
    tab.wait_for_selector("html[data-ready]")
    whole = tab.evaluate("document.documentElement.scrollHeight")
    tab.set_viewport_size({"width": width, "height": whole})
    tab.wait_for_timeout(1500)
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, whole)}
    tab.screenshot(path=PLACE / f"{name}.png", clip=clip, full_page=True)  # type: ignore[arg-type]
    tab.close()


def tensorboard(browser: Browser, directory: Path, name: str) -> None:
    """A picture of the chart with all weights in TensorBoard."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(directory), "--port", str(port)]
    server = subprocess.Popen([*command, "--host", "127.0.0.1"], stderr=subprocess.DEVNULL)
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).read()
                break
            except OSError:
                time.sleep(0.5)
        tab = browser.new_page(viewport={"width": 1240, "height": 820})
        tab.goto(f"http://127.0.0.1:{port}/#custom_scalars")
        tab.get_by_text("loss weights", exact=True).wait_for(timeout=60_000)
        tab.get_by_text("1_loss_weight/", exact=False).first.wait_for(state="attached", timeout=60_000)
        tab.wait_for_timeout(5000)
        tab.screenshot(path=PLACE / f"{name}.png")
        tab.close()
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Take all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("search", type=Path)
    options = parser.parse_args()
    PLACE.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        run, search = options.run / "report.html", options.search / "report.html"
        page(browser, run, "run_desktop", DESKTOP, "light", height=1300)
        page(browser, run, "run_dark", DESKTOP, "dark", height=1300)
        page(browser, run, "run_phone", PHONE, "light", height=1300)
        page(browser, search, "search_desktop", DESKTOP, "light", height=1850)
        page(browser, search, "search_phone", PHONE, "dark", height=1300)
        tensorboard(browser, options.run.parent, "tensorboard")
        browser.close()


if __name__ == "__main__":
    main()
