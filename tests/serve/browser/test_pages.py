"""The pages in a real browser: content, no fault, nothing from elsewhere, accessible, and names are no markup.

Pictures of all pages are left in the folder that JOBMETER_SCREENSHOTS names, for a person to look at.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import pytest

from tests.serve.browser.facility import HOSTILE, empty, facility
from tests.serve.live import Live

playwright = pytest.importorskip("playwright.sync_api", reason="the extra `browser` is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium; on Debian: apt-get install chromium")

AXE = (Path(__file__).parent / "vendored" / "axe.min.js").read_text(encoding="utf-8")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
PAGES = {
    "now": ("/", "nodes reporting"),
    "nodes": ("/nodes", "Nodes with an agent"),
    "node": ("/nodes/node-01", "Jobs here now"),
    "node-hostile": (f"/nodes/{quote(HOSTILE, safe='')}", HOSTILE),
    "queues": ("/queues?span=24h", "nine of ten at most"),
    "health": ("/health", "lost samples"),
    "about": ("/about", "/v2/totals"),
    "jobs": ("/jobs", HOSTILE),
    "job": ("/job/r1", HOSTILE),
    "users": ("/users", HOSTILE),
    "user-hostile": (f"/users/{quote(HOSTILE, safe='')}", HOSTILE),
    "site": ("/sites/physics", "physics"),
    "reports": ("/reports", "Stored and published"),
}
EMPTY = {
    "now-empty": ("/", "jobmeter collect slurm collector.toml"),
    "nodes-empty": ("/nodes", "[samples]"),
    "queues-empty": ("/queues", "jobmeter facility -b -q all:true -c CLUSTER"),
    "health-empty": ("/health", "jobmeter spool status FILE"),
    "jobs-empty": ("/jobs", "No job"),
    "users-empty": ("/users", "No job"),
}


class Browser(NamedTuple):
    chromium: Any
    full: Live
    bare: Live


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with ExitStack() as stack:
        program = stack.enter_context(playwright.sync_playwright())
        chromium = program.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        stack.callback(chromium.close)
        full = stack.enter_context(facility(tmp_path_factory.mktemp("full")))
        bare = stack.enter_context(empty(tmp_path_factory.mktemp("bare")))
        yield Browser(chromium, full, bare)


class Looked(NamedTuple):
    page: Any
    faults: list[str]
    hosts: set[str]


def look(browser: Browser, server: Live, path: str, *, dark: bool = False, script: bool = True) -> Looked:
    """A page as it is when all has come."""
    context = browser.chromium.new_context(color_scheme="dark" if dark else "light", java_script_enabled=script)
    page = context.new_page()
    faults: list[str] = []
    hosts: set[str] = set()
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.goto(f"http://127.0.0.1:{server.port}{path}", wait_until="networkidle")
    return Looked(page, faults, hosts)


def keep_picture(page: Any, name: str) -> None:
    if folder := os.environ.get("JOBMETER_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def violations(page: Any) -> list[tuple[str, list[str]]]:
    found = page.evaluate(AXE + ";axe.run({resultTypes: ['violations']})")["violations"]
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", [*PAGES, *EMPTY])
def test_a_page_shows_what_it_should_and_is_accessible(browser: Browser, name: str, dark: bool) -> None:
    path, text = (PAGES | EMPTY)[name]
    server = browser.full if name in PAGES else browser.bare
    looked = look(browser, server, path, dark=dark)
    keep_picture(looked.page, f"{name}-{'dark' if dark else 'light'}")
    assert text in looked.page.inner_text("main")
    assert looked.faults == []
    assert looked.hosts == {f"127.0.0.1:{server.port}"}
    assert violations(looked.page) == []
    assert "taken" not in looked.page.title().partition("<script>")[0]
    assert looked.page.locator("main img[src=x]").count() == 0
    looked.page.context.close()


def test_curves_are_drawn_and_their_numbers_can_be_had_as_csv(browser: Browser) -> None:
    looked = look(browser, browser.full, "/nodes/node-01")
    assert looked.page.locator("figure.curve canvas").count() == looked.page.locator("figure.curve").count() >= 3
    address = looked.page.locator("figure.curve figcaption a").first.get_attribute("href")
    answer = browser.full.ask("GET", "/" + address.removeprefix("../"), headers={"accept": "text/html"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.body.startswith(b"time,manager,")
    assert answer.body.count(b"procstats_loadavg_1min") > 100
    looked.page.context.close()


@pytest.mark.parametrize("name", ["now", "node", "queues", "health"])
def test_a_page_says_the_same_without_a_script(browser: Browser, name: str) -> None:
    path, text = PAGES[name]
    looked = look(browser, browser.full, path, script=False)
    assert text in looked.page.inner_text("main")
    if name in ("node", "queues"):
        assert looked.page.locator("figure.curve tbody tr").count() >= 24
    looked.page.context.close()


def test_a_live_page_asks_again_until_it_is_told_to_stop(browser: Browser) -> None:
    looked = look(browser, browser.full, "/")
    with looked.page.expect_response(lambda answer: answer.url.endswith("/"), timeout=15_000) as again:
        pass
    assert again.value.status == 200
    button = looked.page.get_by_role("button", name="Stop updating")
    button.click()
    assert looked.page.get_by_role("button", name="Go on updating").get_attribute("aria-pressed") == "true"
    assert looked.page.locator("#live").count() == 1
    assert looked.faults == []
    looked.page.context.close()


def test_the_keyboard_reaches_the_content_first(browser: Browser) -> None:
    looked = look(browser, browser.full, "/nodes")
    looked.page.keyboard.press("Tab")
    assert looked.page.evaluate("document.activeElement.textContent") == "Skip to the content"
    looked.page.keyboard.press("Enter")
    assert looked.page.evaluate("document.activeElement.id") == "content"
    looked.page.context.close()
