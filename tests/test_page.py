"""The report in a browser: headless Chromium opens the file with the network off."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import irconv as ic
from irconv.inspector.document import document
from irconv.inspector.html import save_html
from irconv.inspector.layer_pages import layer_pages
from irconv.inspector.trace import trace

webdriver = pytest.importorskip(
    "selenium.webdriver", reason="selenium is not installed: pip install 'irconv[dev]'"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="no Chromium with chromedriver here (Debian: apt install chromium chromium-driver)",
)

HOSTILE = [
    '"><img src=x onerror=alert(1)>',
    "</script><script>window.pwned=1</script>",
    "'; alert(1); //",
    "\u202egnp.exe\u202c",
    "a\x00b\x1b[31mc",
    "<!--",
    "{{ 7 * 7 }}",
    "x" * 4096,
]


def small_network() -> ic.Graph:
    """Two convolutions, of which the second is read twice, so that one rule declines."""
    b = ic.Builder("small")
    x = b.input("x", (1, 2, 24, 24))  # large enough for maps that are images
    one = b.relu(b.conv(x, 4, kernel=3, pads="same", name="one"))
    two = b.conv(one, 4, kernel=3, pads="same", name="two")
    b.output(b.add(b.relu(two), two))
    return b.build()


def hostile_network() -> ic.Graph:
    b = ic.Builder(HOSTILE[0])
    y = b.input("x", (1, 1, 6, 6))
    for _ in HOSTILE:
        y = b.relu(b.conv(y, 1, kernel=3, pads="same"))
    b.output(y)
    graph = b.build()
    convs = [n for n in graph if n.op.name == "Conv"]
    for node, name in zip(convs, HOSTILE, strict=True):
        graph.rename(node.result, name)
    return graph


class Page:
    """The browser with a report open, and what a reader does in it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, file: Path, address: str = "") -> None:
        self.driver.get("about:blank")
        self.driver.get(file.as_uri() + (f"#{address}" if address else ""))

    def find(self, selector: str) -> Any:
        return self.until(lambda: self.all(selector))[0]

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)  # type: ignore[no-any-return]

    def click(self, selector: str) -> None:
        self.driver.execute_script(
            "const e = arguments[0]; (e.click || (() => e.dispatchEvent(new MouseEvent("
            "'click', {bubbles: true})))).call(e)",
            self.find(selector),
        )

    def press(self, *keys: str) -> None:
        self.driver.switch_to.active_element.send_keys(*keys)

    def text(self, selector: str) -> str:
        return self.find(selector).text  # type: ignore[no-any-return]

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(f"return {script}", *arguments)

    def until(self, found: Callable[[], Any], seconds: float = 10) -> Any:
        wait = pytest.importorskip("selenium.webdriver.support.wait")
        return wait.WebDriverWait(self.driver, seconds, 0.02).until(lambda _: found())

    @property
    def step(self) -> str | None:
        """The title of the pass that is chosen in the list."""
        chosen = self.all(".step[aria-current='step']")
        return chosen[0].get_attribute("title") if chosen else None

    def complaints(self) -> list[str]:
        """What the console says, and addresses that were asked for, beside the file itself."""
        said = [e["message"] for e in self.driver.get_log("browser")]
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        asked = [
            e["params"]["request"]["url"]
            for e in events
            if e["method"] == "Network.requestWillBeSent"
        ]
        return said + [a for a in asked if not a.startswith(("file:", "about:", "data:"))]


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.add_argument("--window-size=1366,768")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    chrome.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    chrome.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph = small_network()
    traced = trace(
        graph, "canonicalize,fuse,im2col", numerics=True, backend="numba_cpu", export=True
    )
    told = document(traced) | {"layers": layer_pages(graph)}
    return save_html(told, tmp_path_factory.mktemp("report") / "small.html")


@pytest.fixture
def page(driver: Any, report: Path) -> Iterator[Page]:
    found = Page(driver)
    found.complaints()
    found.open(report)
    found.find(".shell")
    yield found
    assert found.complaints() == []


def node_id(page: Page, stage: int, name: str) -> int:
    data = page.run("JSON.parse(document.getElementById('document').textContent)")
    nodes = [data["pool"]["nodes"][place] for place, _ in data["stages"][stage]["nodes"]]
    return next(n["id"] for n in nodes if n["name"] == name)


def test_overview_answers_the_questions_of_a_newcomer(page: Page) -> None:
    asked = {e.get_attribute("data-question"): e.text for e in page.all("[data-question]")}
    assert asked.keys() == {"change", "why", "shared", "zero", "sight", "finds"}
    assert "free weights fill" in asked["shared"]
    assert "fixed zeros" in asked["zero"]
    assert "2 remarks name the node" in asked["why"]
    page.click("[data-question=why]")
    assert "its result has two users" in page.text("[data-testid=remarks]")
    page.driver.back()
    page.click("[data-question=shared]")
    page.until(lambda: "pic=matrix" in page.driver.current_url and page.all(".view .svg-host"))
    last = node_id(page, 0, "two")
    for question, address in (("zero", "pic=matrix"), ("sight", f"layer={last}&pic=receptive")):
        page.run("(location.hash = 'v=overview')")
        page.click(f"[data-question={question}]")
        page.until(lambda address=address: address in page.driver.current_url)


def test_the_pass_table_tells_changes_errors_and_exactness(page: Page) -> None:
    rows = [row.text for row in page.all("[data-testid=passes] tbody tr")]
    fuse = next(row for row in rows if "fuse" in row)
    assert "exact" in fuse
    assert "FusedConv" in fuse
    assert any("changed nothing: canonicalize" in row for row in rows)


def test_passes_are_stepped_by_keyboard(page: Page) -> None:
    page.press("j")
    assert page.step == "source"
    page.press("j")
    assert page.step == "fuse"  # canonicalize changed nothing and is stepped over
    page.press("j")
    assert page.step == "im2col"
    page.press("k")
    assert page.step == "fuse"
    page.press("\ue014")  # the arrow to the right
    assert page.step == "im2col"
    assert "rewrites" in page.text("[data-testid=what]")


def test_two_stages_side_by_side_as_text(page: Page) -> None:
    page.press("j", "j", "t")
    page.until(lambda: page.all(".row.two"))
    marked = {s: page.all(f".cell.{s}") for s in ("add", "del", "chg", "mov")}
    assert any("FusedConv" in c.text for c in marked["add"] + marked["chg"])
    plain = [c.text for c in page.all(".cell.same")]
    assert any("%two = " in text or "param %one.w" in text for text in plain)
    page.press("d")
    page.until(lambda: not page.all(".row.two"))
    assert not page.all(".cell.add, .cell.del, .cell.chg, .cell.mov")
    page.press("d")
    select = page.find("[data-testid=from]")
    page.run("(arguments[0].value = '0', arguments[0].dispatchEvent(new Event('change')))", select)
    page.until(lambda: "vs=0" in page.driver.current_url and page.all(".row.two"))


def test_two_stages_side_by_side_as_graphs(page: Page) -> None:
    page.press("j", "j", "g")
    page.until(lambda: len(page.all(".g-node")) > 6)
    left, right = page.all("[data-pane=left] .g-node"), page.all("[data-pane=right] .g-node")
    assert len(left) > len(right) > 2
    assert page.all("[data-pane=left] .g-node.del")
    assert page.all("[data-pane=right] .g-node.add, [data-pane=right] .g-node.chg")
    unchanged = [e for e in left + right if "dim" in e.get_attribute("class").split()]
    assert unchanged
    assert not any(re.search(r"\b(add|del|chg|mov)\b", e.get_attribute("class")) for e in unchanged)


def test_colours_of_cost(page: Page) -> None:
    page.press("g")
    page.until(lambda: page.all(".g-node"))
    select = page.find("[data-testid=colour]")
    page.run(
        "(arguments[0].value = 'macs', arguments[0].dispatchEvent(new Event('change')))", select
    )
    page.until(lambda: page.all(".g-node.heat"))
    assert page.all(".legend canvas")


def test_from_a_conv_to_its_kernel_and_back(page: Page) -> None:
    conv = node_id(page, 0, "one")
    page.run(f"(location.hash = 'v=change&s=0&as=graph&n=0.{conv}')")
    panel = page.until(lambda: page.text("[data-testid=panel]"))
    for words in ("Conv", "Im2Col", "onnxruntime", "numba_cpu", "fuse_activation"):
        assert words in panel
    page.click("[data-testid=to-kernel]")
    page.until(lambda: "def " in page.text("[data-testid=source]"))
    here = page.driver.current_url
    later = page.all(".panel .trail .chip")
    assert any("Conv" in chip.text for chip in later)
    page.driver.back()
    page.until(lambda: f"n=0.{conv}" in page.driver.current_url)
    page.driver.get(here)  # the address alone leads to the kernel and the node
    page.until(lambda: "def " in page.text("[data-testid=source]"))
    page.click(f"[data-chip='0.{conv}']")
    page.until(lambda: page.all(".g-node.chosen"))
    assert page.step == "source"


def test_search(page: Page) -> None:
    page.press("/")
    page.find(".palette input").send_keys("im2col")
    found = page.until(lambda: [li.text for li in page.all(".palette li")])
    assert any("one.cols" in text or "Im2Col" in text for text in found)
    page.press("\ue007")  # enter
    page.until(lambda: not page.all(".palette"))
    assert page.step == "im2col"
    page.press("/")
    page.find(".palette input").send_keys("no such thing")
    page.until(lambda: "Nothing is called that" in page.text(".palette"))
    page.press("\ue00c")  # escape
    page.until(lambda: not page.all(".veil"))
    page.press("?")
    assert "next, previous pass" in page.text(".palette")
    page.press("\ue00c")
    page.until(lambda: not page.all(".veil"))


def test_remarks_are_filtered(page: Page) -> None:
    page.press("r")
    field = page.find(".field")
    assert page.all(".why")
    field.send_keys("residual")
    page.until(lambda: "1 remark of 2" in page.text("[role=status]"))
    page.find(".why .chip")
    field.send_keys(" nonsense")
    page.until(lambda: "No remark says that" in page.text("[data-testid=remarks]"))


def test_a_remark_tells_the_original_names_and_is_found_by_them(
    driver: Any, tmp_path: Path
) -> None:
    b = ic.Builder("five")
    y = b.relu(b.conv(b.input("x", (1, 1, 8, 8)), 2, kernel=5, name="first"), name="last")
    b.output(y)
    page = Page(driver)
    page.open(save_html(document(trace(b.build(), "fuse,winograd")), tmp_path / "r.html"))
    page.run("(location.hash = 'v=remarks&q=first')")
    chip = page.until(lambda: [c.text for c in page.all(".why .chip")])
    assert chip == ["last (FusedConv of first)"]


def test_every_view_of_a_layer_opens_and_hovering_links_them(page: Page) -> None:
    conv = node_id(page, 0, "one")
    page.run(f"(location.hash = 'v=layers&layer={conv}')")
    names = page.until(lambda: [e.get_attribute("data-view") for e in page.all(".view")])
    expected = {"matrix", "network", "dense_network", "receptive_field", "filters", "equation"}
    expected |= {"activation_maps", "projection", "translation", "volume", "locally_connected"}
    assert expected <= set(names)
    for name in names:
        page.click(f".view-nav [data-view={name}]")
        page.until(
            lambda name=name: page.run(
                "document.querySelector(arguments[0])?.shadowRoot?.querySelector('svg')",
                f".view[data-view={name}] .svg-host",
            )
        )
    assert "This picture cannot be read" not in page.text("[data-testid=layer]")
    drawings = "[...document.querySelectorAll('.svg-host')].map((h) => h.shadowRoot)"
    shades = page.run(
        f"{drawings}.flatMap((r) => [...r.querySelectorAll('image')])"
        ".map((i) => getComputedStyle(i).imageRendering)"
    )
    assert set(shades) == {"pixelated"}
    assert page.complaints() == []
    hot = """(() => {
      const roots = [...document.querySelectorAll('.svg-host')].map((h) => h.shadowRoot);
      const first = roots.map((r) => r.querySelector('[data-w="3"]')).find(Boolean);
      first.dispatchEvent(new PointerEvent('pointerover', {bubbles: true, composed: true}));
      return roots.map((r) => [r.querySelectorAll('.hot').length,
        r.querySelectorAll('[data-w="3"]').length]);
    })()"""
    counts = page.run(hot)
    assert sum(lit > 0 for lit, _ in counts) > 3
    assert all(lit == there for lit, there in counts)
    assert "weight 3 = " in page.text(".hover-note")


def test_dark_and_light_and_phone(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.run(ground)
    page.click("[aria-label='light or dark']")
    assert page.run(ground) != before
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for address in ("v=overview", "v=change&s=2&as=text", "v=change&s=2&as=graph", "v=remarks"):
            page.run("(location.hash = arguments[0])", address)
            page.until(lambda: page.all(".main > *"))
            assert page.run("document.documentElement.scrollWidth") <= 390, address
        tab = page.find("[data-go=kernels]")
        assert page.run("arguments[0].getBoundingClientRect().right", tab) <= 390
        page.run("(location.hash = arguments[0])", f"v=layers&layer={node_id(page, 0, 'one')}")
        page.until(lambda: page.all(".view .svg-host"))
        assert page.run("document.querySelector('.view-nav').offsetHeight") < 60
        shrunk = page.run(
            "[...document.querySelectorAll('.svg-host')].map((h) => h.shadowRoot.firstChild)"
            ".map((s) => s.getBoundingClientRect().width / Number(s.getAttribute('width')))"
        )
        assert min(shrunk) > 0.8
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_hostile_names_are_text(driver: Any, tmp_path: Path) -> None:
    graph = hostile_network()
    told = document(trace(graph, "canonicalize,fuse")) | {"layers": layer_pages(graph)}
    page = Page(driver)
    page.complaints()
    page.open(save_html(told, tmp_path / "hostile.html"))
    seen = ""
    for address in (
        *("v=overview", "v=change&s=2&as=what", "v=change&s=2&as=text", "v=change&s=2&as=graph"),
        *("v=change&s=0&as=text&alone=1", "v=layers", "v=remarks"),
    ):
        page.run("(location.hash = arguments[0])", address)
        page.until(lambda: page.all(".main > *"))
        page.until(lambda: page.text(".main"))
        page.run("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")
        seen += page.run("document.querySelector('#app').textContent")
    for node in (n for n in graph if n.op.name == "Conv"):
        page.run("(location.hash = arguments[0])", f"v=layers&layer={node.uid}")
        page.until(lambda: page.all("[data-testid=layer]"))
    assert HOSTILE[0] in seen
    assert "</script><script>window.pwned=1</script>" in seen
    assert "{{ 7 * 7 }}" in seen
    assert "(4096 characters)" in seen
    assert "\\u202e" in seen
    assert "\u202e" not in seen
    assert not page.all("img")
    assert page.run("window.pwned") is None
    assert page.complaints() == []


def test_a_changed_script_does_not_run(driver: Any, report: Path, tmp_path: Path) -> None:
    """The policy holds: what was not in the page when it was made is not run."""
    text = report.read_text(encoding="utf-8")
    bad = text.replace("</body>", "<script>window.pwned = 1</script></body>")
    file = tmp_path / "changed.html"
    file.write_text(bad, encoding="utf-8")
    page = Page(driver)
    page.open(file)
    page.find(".shell")
    assert page.run("window.pwned") is None
    assert any("Content Security Policy" in text for text in page.complaints())


def test_a_picture_of_the_page_is_not_empty(page: Page) -> None:
    """A last look: the page is drawn in more than a few colours."""
    png = base64.b64decode(page.driver.get_screenshot_as_base64())
    assert len(png) > 20_000
