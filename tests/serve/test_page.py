"""The page, in a real browser."""

import os
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import expect, sync_playwright

from m3rag import M3Index
from m3rag.answers import OpenAIChat
from m3rag.index.contents import add_text
from tests.answers.conftest import serve as serve  # a local chat server
from tests.answers.test_streaming import EVENTS, event
from tests.serve.conftest import KEY, serving

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

QUESTION = "What waters the ferns?"
ANSWER = "The pump waters the ferns when the soil is dry."
HOSTILE = '<img src=x onerror="window.hurt = 1"><script>window.hurt = 1</script> Valves are closed.'
ARABIC = "تسقي المضخة النباتات عندما تجف التربة (BGE-M3)."
LONG = "\n\n".join(f"Fern {n} grows in the shade of tree {n}. 🌿" * 12 for n in range(12))
TEXTS = {
    "pump.md": (f"# Pumps\n\n{LONG}\n\n## Water\n\n{ANSWER}\n\n{LONG}", {"lang": "en"}),
    "es/sensor.md": ("# Sensor\n\nEl sensor mide la humedad del suelo.", {"lang": "es"}),
    "ar/ري.md": (f"# ري\n\n{ARABIC}", {"lang": "ar"}),
    "<b>valves</b>.md": (HOSTILE, {"lang": "en"}),
}


@contextmanager
def served_garden(tiny, **settings):
    index = M3Index.open(model=tiny)
    for name, (text, metadata) in TEXTS.items():
        add_text(index, text, id=name, metadata=metadata)
    with serving({"garden": index}, **settings) as served:
        yield served, index


@pytest.fixture(scope="module")
def garden(tiny):
    with served_garden(tiny) as served:
        yield served


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        # Chromium has no sandbox for root, as in containers.
        arguments = ["--no-sandbox"] if os.getuid() == 0 else []
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)


@contextmanager
def opened(browser, url, **options):
    """Open the page; fails if the browser reports an error, such as one of the policy."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(20_000)
    errors: list[str] = []

    def heard(message):
        if message.type == "error":
            errors.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    try:
        yield page
    finally:
        context.close()
    assert not errors


def ask(page, question):
    page.get_by_label("Question, in any language").fill(question)
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#answer-note")).not_to_be_empty()


def violations(page):
    found = Axe().run(page).response["violations"]
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]


@needs_chromium
def test_ask_cite_and_explain(browser, garden):
    served, index = garden
    with opened(browser, served.url) as page:
        expect(page.locator("#about")).to_have_text(f"{index.count()} passages · tiny")
        ask(page, QUESTION)
        expect(page.locator("#answer-text")).to_contain_text(ANSWER)
        first = page.locator("#hits > li").first
        expect(page.locator("#hits > li")).to_have_count(5)
        expect(first.locator("h3")).to_have_text("pump.md › Pumps › Water")
        expect(first.locator(".best")).to_contain_text([ANSWER[:8]])
        assert {"water", "fer", "ns"} <= set(first.locator("mark").all_text_contents())
        assert page.locator(".legend").first.inner_text().startswith("dense")
        page.get_by_text("Why this passage").first.click()
        [hit, *_] = index.search(QUESTION, 5)
        why = hit.explain()
        rows = first.get_by_role("region", name="Aligned tokens").locator("tbody tr")
        expect(rows).to_have_count(len(why.alignments))
        rows = first.get_by_role("region", name="Matched tokens").locator("tbody tr")
        expect(rows.first).to_contain_text(why.matched[0].piece)
        page.get_by_role("button", name="Passage 1", exact=True).click()
        found = page.locator("dialog .found")
        expect(found).to_be_in_viewport()
        assert found.text_content() == hit.passage.text
        assert page.locator("#document-text").text_content().count("Fern 11 grows") == 24
        page.keyboard.press("Escape")
        expect(page.locator("dialog#document")).not_to_be_visible()


@needs_chromium
def test_a_written_answer_follows_the_passages(browser, tiny, serve):
    text = "Twice <b>a week</b> [1]."
    stream = event(text[:12]) + event(text[12:], "stop") + b"data: [DONE]\n\n"
    asked = threading.Event()
    with (
        serve(stream, headers=EVENTS, wait=asked) as (url, _),
        served_garden(tiny, llm=OpenAIChat(url, "small")) as (served, _),
        opened(browser, served.url) as page,
    ):
        page.get_by_label("Question, in any language").fill(QUESTION)
        page.get_by_role("button", name="Ask").click()
        expect(page.locator("#hits > li")).to_have_count(5)
        expect(page.locator("#answer")).not_to_be_visible()
        asked.set()
        expect(page.locator("#answer-note")).to_contain_text("Written by a language model.")
        expect(page.locator("#answer-text")).to_have_text("Twice <b>a week</b> 1.")
        page.get_by_role("button", name="Passage 1", exact=True).click()
        expect(page.locator("dialog .found")).to_contain_text(ANSWER)


@needs_chromium
def test_markup_of_documents_is_text(browser, garden):
    with opened(browser, garden[0].url) as page:
        ask(page, "Which valves are closed?")
        hit = page.locator("#hits > li", has_text="<b>valves</b>.md")
        expect(hit.locator("p.text")).to_have_text(HOSTILE)
        hit.get_by_role("button", name="Show in the document").click()
        expect(page.locator("#document-text")).to_have_text(HOSTILE)
        assert page.evaluate("window.hurt") is None
        assert page.locator("#hits img, #hits script, dialog img").count() == 0


@needs_chromium
def test_weights_and_filters_change_the_ranking(browser, garden):
    served, index = garden
    query = "sensor del suelo, ferns"
    with opened(browser, served.url) as page:
        ask(page, query)
        page.get_by_text("Weights and filters").click()
        page.get_by_label("colbert").fill("0")
        page.get_by_label("sparse").fill("0")
        with page.expect_response("**/search"):
            page.get_by_label("sparse").dispatch_event("change")
        ids = [hit.passage.place for hit in index.search(query, 5, weights={"dense": 1})]
        expect(page.locator("#hits h3")).to_have_text(ids)
        assert "▲" in page.locator("#hits").inner_text()
        page.get_by_label("Filter").fill("lang=es,ar")
        ask(page, query)
        expect(page.locator("#hits > li")).to_have_count(2)
        page.get_by_label("Filter").fill('{"lang": ')
        page.get_by_role("button", name="Ask").click()
        expect(page.locator("#status")).to_contain_text("The filter is not JSON")
        page.get_by_label("Filter").fill("")
        with page.expect_response("**/search") as response:
            page.get_by_role("button", name="Usual weights").click()
        assert response.value.request.post_data_json["weights"] == "default"


@needs_chromium
def test_upload(browser, tiny, tmp_path):
    file = Path(tmp_path / "relais.md")
    file.write_text("# Relais\n\nUn relais est un interrupteur électrique.\n")
    with served_garden(tiny) as (served, index), opened(browser, served.url) as page:
        page.get_by_text("Add a document").click()
        page.get_by_label("File").set_input_files(file)
        page.get_by_role("button", name="Upload").click()
        expect(page.locator("#upload-status")).to_have_text("relais.md is in the knowledge base.")
        assert index.documents()["relais.md"] == 1
        ask(page, "Un interrupteur électrique ?")
        expect(page.locator("#hits h3").first).to_have_text("relais.md › Relais")


@needs_chromium
def test_a_key_is_asked_for_and_forgotten_with_the_tab(browser, tiny):
    with served_garden(tiny, key=KEY) as (served, _):
        context = browser.new_context()
        page = context.new_page()
        page.goto(served.url)
        page.get_by_label("Key", exact=True).fill("wrong-key-of-sixteen")
        page.get_by_role("button", name="Use").click()
        expect(page.locator("#status")).to_have_text("This API key is not valid.")
        page.get_by_label("Key", exact=True).fill(KEY)
        page.keyboard.press("Enter")
        expect(page.locator("#base")).to_have_value("garden")
        ask(page, QUESTION)
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        assert KEY not in page.content()
        context.close()


@needs_chromium
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_everyone_can_use_it(browser, garden, colours):
    phone = {"width": 360, "height": 640}
    with opened(browser, garden[0].url, color_scheme=colours, viewport=phone) as page:
        expect(page.get_by_label("Question, in any language")).to_be_focused()
        page.keyboard.type("ري: تسقي المضخة النباتات")
        page.keyboard.press("Enter")
        expect(page.locator("#answer-note")).not_to_be_empty()
        passage = page.locator("#hits p.text", has_text=ARABIC)
        directions = "e => [getComputedStyle(e).direction, getComputedStyle(e).unicodeBidi]"
        assert passage.evaluate(directions) == ["rtl", "plaintext"]
        page.get_by_text("Why this passage").first.click()
        page.get_by_text("Weights and filters").click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert violations(page) == []
        page.get_by_role("button", name="Show in the document").first.press("Enter")
        expect(page.locator("dialog .found")).to_be_focused()
        assert violations(page) == []


def test_the_files_of_the_page(garden):
    client = garden[0].client
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "http" not in answer.text.replace('"http', "")
    for name, kind in (("app.js", "text/javascript"), ("style.css", "text/css")):
        answer = client.get(f"/page/{name}")
        assert answer.headers["content-type"].startswith(kind)
        same = client.get(f"/page/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
    for name in ("none.js", "../app.py", "..%2Fapp.py", "__init__.py"):
        assert client.get(f"/page/{name}").status_code == 404
