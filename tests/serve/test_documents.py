"""Documents over HTTP: texts and files are added by jobs, and deleted."""

import json
import time
from dataclasses import replace
from email.message import EmailMessage

import pytest

from m3rag import M3Index
from m3rag.serve.jobs import Jobs
from m3rag.serve.keys import ANYONE, Keys
from tests.serve.conftest import KEY, serving

TEXT = "# Pump\n\nThe pump waters the plants when the soil is dry."


@pytest.fixture(scope="module")
def kb(tiny):
    with serving({"kb": M3Index.open(model=tiny)}, upload_limit=1 << 20) as served:
        yield served.client


def job(client, answer):
    """Return the state of a job once it is over."""
    assert answer.status_code == 202, answer.text
    url = f"/v1/jobs/{answer.json()['job']}"
    for _ in range(2_000):
        state = client.get(url).json()
        if state["state"] in ("done", "failed"):
            return state
        time.sleep(0.01)
    raise AssertionError(state)


def add(client, **body):
    return job(client, client.post("/v1/kbs/kb/documents", json=body))


def upload(client, name, content, **fields):
    files = {"file": (name, content, "application/octet-stream")}
    return client.post("/v1/kbs/kb/documents", files=files, data=fields)


def listed(client):
    return {d["id"]: d for d in client.get("/v1/kbs/kb/documents").json()["documents"]}


def test_a_text_is_added_replaced_and_deleted(kb):
    done = add(kb, id="notes/pump.md", text=TEXT, metadata={"lang": "en"})
    assert (done["state"], done["done"], done["total"], done["error"]) == ("done", 1, 1, None)
    assert done["changes"]["documents"] == ["notes/pump.md"]
    assert done["changes"]["passages"] == {"added": 1, "replaced": 0, "unchanged": 0, "removed": 0}
    found = kb.post("/v1/kbs/kb/search", json={"query": "What waters plants?"}).json()["hits"]
    assert found[0]["passage"]["document_id"] == "notes/pump.md"
    again = add(kb, id="notes/pump.md", text=TEXT, title="The pump", metadata={"lang": "en"})
    assert again["changes"]["passages"]["replaced"] == 1
    assert listed(kb)["notes/pump.md"]["title"] == "The pump"
    url = "/v1/kbs/kb/documents/notes%2Fpump.md"
    assert kb.get(url).json()["text"].startswith("# Pump")
    assert kb.delete(url).json() == {"deleted": 1}
    assert kb.delete(url).status_code == kb.get(url).status_code == 404
    assert "notes/pump.md" not in listed(kb)


def test_a_file_is_parsed_with_the_files_in_it(kb):
    mail = EmailMessage()
    mail["Subject"], mail["From"] = "Watering", "Ana <ana@example.org>"
    mail.set_content("The plan is attached.")
    mail.add_attachment("Water at six.", filename="plan.txt")
    fields = {"metadata": json.dumps({"year": 2026}), "title": "Plan"}
    done = job(kb, upload(kb, "mail/plan.eml", mail.as_bytes(), **fields))
    assert done["changes"]["documents"] == ["mail/plan.eml", "mail/plan.eml/plan.txt"]
    documents = listed(kb)
    assert documents["mail/plan.eml/plan.txt"]["metadata"]["year"] == 2026
    assert documents["mail/plan.eml"]["title"] == "Plan"
    mail.clear_content()
    mail.set_content("No plan any more.")
    done = job(kb, upload(kb, "mail/plan.eml", mail.as_bytes()))
    assert done["changes"]["passages"]["removed"] == 1
    assert "mail/plan.eml/plan.txt" not in listed(kb)


def test_files_that_cannot_be_read_fail_with_the_reason(kb):
    done = job(kb, upload(kb, "broken.pdf", b"%PDF-1.7 nothing of a PDF"))
    assert done["state"] == "failed"
    assert done["error"]["code"] == "DocumentError"
    assert "broken.pdf" in done["error"]["message"]
    done = job(kb, upload(kb, "page.md", b"\x7fELF" + bytes(100)))
    assert done["error"]["code"] == "DocumentError"
    assert "broken.pdf" not in listed(kb)


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd.md", "/etc/passwd.md", "a/../b.md", "..\\b.md", "a\x00.md", "a//b.md"],
)
def test_names_that_lead_elsewhere_are_refused(kb, name):
    answer = upload(kb, "x.md", TEXT, id=name)
    assert answer.status_code == 400, answer.text
    assert "is no name for a document" in answer.json()["error"]["message"]


def test_what_is_wrong_is_said_before_a_job_starts(kb):
    path, deep = "/v1/kbs/kb/documents", {"a": 1}
    for _ in range(40):
        deep = {"a": deep}
    for send, status, reason in (
        (lambda: upload(kb, "virus.exe", b"MZ"), 422, "unknown suffix '.exe'"),
        (lambda: upload(kb, "a.md", TEXT, metadata="[1]"), 400, "must be a JSON object"),
        (lambda: upload(kb, "a.md", TEXT, other="1"), 400, "unknown field 'other'"),
        (lambda: upload(kb, "a.md", b"x" * (3 << 20)), 413, "--upload-limit"),
        (lambda: kb.post(path, files={"other": ("a.md", TEXT)}), 400, "unknown field"),
        (lambda: kb.post(path, data={"id": "a"}, files={"title": (None, "a")}), 400, "no file"),
        (lambda: kb.post(path, json={"id": "a"}), 422, "text"),
        (lambda: kb.post(path, json={"id": " ", "text": TEXT}), 400, "`id` is empty"),
        (lambda: kb.post(path, json={"id": "a", "text": " "}), 400, "`text` is empty"),
        (lambda: kb.post(path, json={"id": "a", "text": "a", "x": 1}), 422, "x"),
        (lambda: kb.post(path, json={"id": "a", "text": "a", "metadata": deep}), 400, "32 deep"),
        (
            lambda: kb.post(path, content=b"{", headers={"content-type": "application/json"}),
            400,
            "",
        ),
        (lambda: upload(kb, "a.md", TEXT, metadata=["{}", "{}"]), 400, "a field twice"),
        (lambda: kb.get(path, params={"limt": 1}), 422, "limt"),
        (lambda: kb.post(path, content=b"text"), 415, "multipart/form-data"),
        (lambda: kb.post("/v1/kbs/no/documents", json={"id": "a", "text": "a"}), 404, "'no'"),
        (lambda: kb.get("/v1/jobs/none"), 404, "There is no job 'none'"),
    ):
        answer = send()
        assert answer.status_code == status, (reason, answer.text)
        assert reason in answer.json()["error"]["message"], answer.text


def test_rights(tiny):
    every = list((Keys.of(KEY) + Keys.of("r" * 20) + Keys.of("t" * 20))._keys)
    every[1] = replace(every[1], write=False)
    every[2] = replace(every[2], filter={"tenant": "ann", "lang": {"in": ["en", "de"]}})
    with serving({"kb": M3Index.open(model=tiny)}, keys=Keys(every)) as served:
        client = served.client

        def by(key):
            client.headers["Authorization"] = f"Bearer {key}"
            return client

        started = by(KEY).post("/v1/kbs/kb/documents", json={"id": "all.md", "text": "For all."})
        assert job(by(KEY), started)["state"] == "done"
        body = {"id": "a.md", "text": "a"}
        assert by("r" * 20).post("/v1/kbs/kb/documents", json=body).status_code == 403
        assert by("r" * 20).delete("/v1/kbs/kb/documents/all.md").status_code == 403
        assert by("r" * 20).get(f"/v1/jobs/{started.json()['job']}").status_code == 404
        ann = by("t" * 20)
        assert listed(ann) == {}
        assert ann.delete("/v1/kbs/kb/documents/all.md").status_code == 404
        assert add(ann, **body)["error"]["code"] == "InputError"  # it has no "lang"
        assert add(ann, id="all.md", text="a", metadata={"lang": "en"})["state"] == "failed"
        bob = {"tenant": "bob", "lang": "en"}
        assert add(ann, id="bob.md", text="a", metadata=bob)["state"] == "failed"
        assert add(ann, id="a.md", text="a", metadata={"lang": "en"})["state"] == "done"
        assert listed(ann)["a.md"]["metadata"]["tenant"] == "ann"
        asked = {"query": "all", "filter": {"tenant": "bob"}}
        assert ann.post("/v1/kbs/kb/search", json=asked).json() == {"hits": []}
        assert set(listed(by(KEY))) == {"all.md", "a.md"}


def test_a_queue_of_jobs_is_bounded_and_drained():
    jobs, order = Jobs(), []

    def work(number):
        def run(progress):
            progress("adding", number, 3)
            order.append(number)
            return {"number": number}

        return run

    started = [jobs.add(ANYONE, "kb", work(number), 10) for number in range(3)]
    jobs.close(10)
    assert order == [0, 1, 2]
    assert [job.state for job in started] == ["done"] * 3
    assert jobs.get(started[2].id).to_dict()["changes"] == {"number": 2}
    with pytest.raises(Exception, match="about to stop"):
        jobs.add(ANYONE, "kb", work(3), 10)

    slow = Jobs()

    def endless(progress):
        while True:
            time.sleep(0.005)
            progress("adding", 1, None)

    def broken(progress):
        raise ZeroDivisionError

    first = slow.add(ANYONE, "kb", endless, 1 << 30)
    while first.state == "queued":
        time.sleep(0.001)
    second = slow.add(ANYONE, "kb", broken, 1)
    with pytest.raises(Exception, match="wait to be added"):
        slow.add(ANYONE, "kb", broken, 512 << 20)
    slow.close(0.05)
    for one in (first, second):
        assert one.to_dict()["error"]["code"] == "Stopped"
