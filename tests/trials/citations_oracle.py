"""The check of citations in its plainest form: regular expressions, again and again; slow."""

import re

from m3rag.documents import sentences

CITED = r"[\[【［]\s*\d+(?:\s*[,;，、–-]\s*\d+)*\s*[\]】］]"
CITATION = re.compile(rf"([ \t]*)({CITED})")
CITATIONS = re.compile(rf"(?:\s*{CITED})+[.。।]?")
RANGE = re.compile(r"(\d+)(?:\s*[–-]\s*(\d+))?")
QUOTATION = re.compile(
    '"([^"\n]+)"|“([^”]+)”|„([^“”]+)[“”]|”([^”]+)”|«([^»]+)»|»([^«]+)«|「([^」]+)」|『([^』]+)』'
)
OMISSION = re.compile(r"[\[(]?(?:…|\.\.\.)[\])]?")
ADDED = " \t\n.,;:!?。，、；：！？।؟،"


def expected(text, passages):
    """Return the text, the cited and the removed numbers, and (quote, numbers, found) of each."""
    valid = range(1, len(passages) + 1)
    removed: set[int] = set()

    def replace(match):
        found = numbers(match[0])
        removed.update(number for number in found if number not in valid)
        kept = "".join(f"[{number}]" for number in found if number in valid)
        return match[1] + kept if kept else ""

    while (cleaned := CITATION.sub(replace, text).strip()) != text:
        text = cleaned
    quotes = [
        (quoted, tuple(cited), any(contains(passages[number - 1], quoted) for number in cited))
        for quoted, cited in quotations(text)
    ]
    return text, tuple(numbers(text)), tuple(sorted(removed)), quotes


def numbers(text):
    found = {}
    for citation in CITATION.finditer(text):
        for part in RANGE.finditer(citation[2]):
            first = int(part[1])
            last = int(part[2] or first)
            between = range(first, last + 1) if last - first < 100 else ()
            found.update(dict.fromkeys(between or (first, last)))
    return list(found)


def quotations(text):
    spans = list(statements(text))
    for match in QUOTATION.finditer(text):
        quoted = next(group for group in match.groups() if group is not None)
        around = [text[a:b] for a, b in spans if a < match.end() and match.start() < b]
        yield quoted, numbers(" ".join(around)) or numbers(text)


def statements(text):
    last = 0
    for start, end in sentences(text):
        if max(start, last) < end:
            start = max(start, last)
            citations = CITATIONS.match(text, end)
            last = citations.end() if citations else end
            yield start, last


def contains(passage, quoted):
    words = " ".join(passage.split())
    parts = [" ".join(part.split()).strip(ADDED) for part in OMISSION.split(quoted)]
    return any(parts) and all(part in words for part in parts)
