"""The description of the routes."""

import base64
import re
from hashlib import sha256
from html.parser import HTMLParser


class Page(HTMLParser):
    """The text of a page, and what it loads or runs."""

    def __init__(self, text):
        super().__init__()
        self.words, self.open, self.active = "", [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "link"):
            self.open.append(tag)
        if tag in ("script", "link", "img", "iframe") or any(
            a.startswith("on") for a, _ in attributes
        ):
            self.active.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def test_the_reference_describes_every_route_and_loads_nothing(served):
    described = served.client.get("/openapi.json").json()
    response = served.client.get("/docs")
    page = Page(response.text)
    assert page.open == page.active == []
    for path, methods in described["paths"].items():
        for method, route in methods.items():
            assert f"{method.upper()} {path}" in page.words
            assert route.get("description"), path
            assert route["description"].partition("\n\n")[0] in page.words
    for schema in described["components"]["schemas"].values():
        if "examples" in schema:
            assert "¿Cómo riego la planta?" in page.words
    [style] = re.findall("<style>(.*?)</style>", response.text, re.DOTALL)
    digest = base64.b64encode(sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in response.headers["content-security-policy"]
