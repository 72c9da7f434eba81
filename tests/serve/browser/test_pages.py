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
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
import pytest

from jobmeter.manual.site import write
from jobmeter.manual.tree import tree
from jobmeter.model.job import JobIdentity
from jobmeter.model.sample import Sample, SampleBatch
from tests.process import PATIENCE_SECONDS
from tests.serve.browser.facility import HOSTILE, NOW, empty, facility
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
    "docs": ("/docs", "Quick start"),
    "docs-found": ("/docs?q=spool", "Where “spool” stands"),
    "docs-page": ("/docs/operation", "Several processes"),
    "docs-reference": ("/docs/reference-api", "POST /v2/records"),
    "jobs": ("/jobs", HOSTILE),
    "job": ("/job/r1", HOSTILE),
    "job-running": ("/job/slurm-470", "Share of the commands"),
    "reconciliation": ("/reconciliation", "No collector has reported"),
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
    "jobs-empty": ("/jobs", "jobmeter run"),
    "users-empty": ("/users", "jobmeter run"),
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


def new_page(browser: Browser, **options: Any) -> Any:
    """A page that waits as long as other tests do."""
    page = browser.chromium.new_context(**options).new_page()
    page.set_default_timeout(PATIENCE_SECONDS * 1000)
    return page


def look(browser: Browser, server: Live, path: str, *, dark: bool = False, script: bool = True) -> Looked:
    """A page as it is when all has come."""
    page = new_page(browser, color_scheme="dark" if dark else "light", java_script_enabled=script)
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
    figures = looked.page.locator("figure.curve").count()
    assert figures >= 3
    looked.page.wait_for_function(f"document.querySelectorAll('figure.curve canvas').length == {figures}")
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
    with looked.page.expect_response(lambda answer: answer.url.endswith("/")) as again:
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


def test_a_dead_letter_is_tried_again_with_the_keyboard_and_its_record_is_there(browser: Browser) -> None:
    page = look(browser, browser.full, "/reports").page
    summary = page.locator("details.letter summary", has_text="the database was full")
    summary.focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Try again").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/reports?stored=1&refused=0")
    assert "1 record of the letter is stored now" in page.inner_text("[role=status]")
    assert browser.full.ask("GET", "/job/late-1").status == 200
    page.context.close()


def asked_for(url: str) -> tuple[int, int]:
    """From which to which second a question for samples goes."""
    query = parse_qs(urlsplit(url).query)
    return int(query["from"][0]), int(query["to"][0])


def is_of_samples(answer: Any) -> bool:
    return "/v2/samples?" in answer.url


def test_curves_are_zoomed_with_the_keyboard_and_back(browser: Browser) -> None:
    page = look(browser, browser.full, "/nodes/node-01").page
    for button, seconds in (("Zoom in", 43_200), ("Zoom in", 21_600), ("All of it", 86_400)):
        page.get_by_role("button", name=button).focus()
        with page.expect_response(is_of_samples) as again:
            page.keyboard.press("Enter")
        first, last = asked_for(again.value.url)
        assert last - first == seconds
    page.context.close()


def test_dragging_over_one_curve_zooms_all_of_them(browser: Browser) -> None:
    page = look(browser, browser.full, "/nodes/node-01").page
    box = page.locator(".u-over").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 3 / 4, box["y"] + 50, steps=5)
    with page.expect_response(is_of_samples) as again:
        page.mouse.up()
    first, last = asked_for(again.value.url)
    assert last - first == pytest.approx(21_600, rel=0.05)
    page.context.close()


def test_the_curves_of_a_job_that_runs_go_on_when_a_sample_comes(browser: Browser) -> None:
    page = look_at_tail(browser, "/job/slurm-470")
    job = JobIdentity("slurm", "hall-a", "470")
    again: list[str] = []
    page.on("response", lambda answer: again.append(answer.url) if is_of_samples(answer) else None)
    for second in range(1, int(PATIENCE_SECONDS)):  # the page may listen a little later than it draws
        time_ns = (int(NOW.timestamp()) + second) * 10**9
        sample = Sample("cgroup", "node-01", job, time_ns, ("cgroup_memory_current",), (2**34,))
        batch = SampleBatch("node-01", (sample,))
        assert browser.full.ask("POST", "/v2/samples", msgspec.json.encode(batch)).status == 200
        page.wait_for_timeout(1000)
        if again:
            break
    first, last = asked_for(again[0])
    assert first < int(NOW.timestamp()) < last
    page.context.close()


def look_at_tail(browser: Browser, path: str) -> Any:
    """A page that holds a connection open, so that its network is never idle, once its curves are drawn."""
    page = new_page(browser)
    page.goto(f"http://127.0.0.1:{browser.full.port}{path}")
    page.locator("figure.curve canvas").first.wait_for()
    return page


def test_every_page_can_be_walked_with_the_keyboard_from_the_skip_link_on(browser: Browser) -> None:
    page = look(browser, browser.full, "/jobs").page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.type("slurm-470")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs?*q=slurm-470*")
    assert "the record slurm-470" in " ".join(page.inner_text("main").split())
    page.context.close()


@pytest.mark.parametrize("name", ["now", "jobs", "job", "users", "reports", "health", "queues", "nodes"])
def test_a_narrow_screen_is_never_scrolled_sideways(browser: Browser, name: str) -> None:
    path, text = PAGES[name]
    page = new_page(browser, viewport={"width": 400, "height": 800})
    page.goto(f"http://127.0.0.1:{browser.full.port}{path}", wait_until="networkidle")
    keep_picture(page, f"{name}-narrow")
    assert text in page.inner_text("main")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.context.close()


def test_the_documentation_as_a_folder_finds_words_without_a_server(browser: Browser, tmp_path: Path) -> None:
    write(tree(), tmp_path)
    page = new_page(browser)
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    page.goto(f"file://{tmp_path}/operation.html", wait_until="load")
    page.fill("#words", "several processes")
    assert page.locator("#found a").first.get_attribute("href") == "operation.html#several-processes"
    assert faults == []
