from __future__ import annotations

import json
import logging
import re
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.topics import load_topics
from pipeline.topics.naming import MAX_LABEL_CHARACTERS, LlmSettings, TopicText, clean_label, llm_labels, name_topics
from pipeline.topics.operations.edit import label_topic, set_labels

SECRET = "sk-not-to-be-seen"
TEXTS = [TopicText(topic, [f"word{topic}", "other"], [f"document of {topic}"] * 6) for topic in range(6)]


class Endpoint:
    """Speaks chat completions on a local port; `behave` decides what a request gets."""

    def __init__(self):
        self.requests = []
        self.open = self.most_open = 0
        self.behave = lambda _number, topic: (200, f"Name of {topic}")
        lock, endpoint = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    endpoint.requests.append({"path": self.path, "headers": dict(self.headers), "body": body})
                    number = len(endpoint.requests)
                    endpoint.open += 1
                    endpoint.most_open = max(endpoint.most_open, endpoint.open)
                try:
                    topic = "".join(re.findall(r"word(\d)", body["messages"][1]["content"])[:1])
                    answer = endpoint.behave(number, topic)
                finally:
                    with lock:  # before the client can know
                        endpoint.open -= 1
                self.answer(*answer)

            def answer(self, status, content, headers=()):
                if isinstance(content, str):
                    content = json.dumps({"choices": [{"message": {"content": content}}]}).encode()
                self.send_response(status)
                for name, value in [*headers, ("Content-Length", str(len(content)))]:
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self.wfile.write(content)
                except OSError:
                    return

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def settings(self, **more):
        return LlmSettings(**{"model": "m", "url": self.url, "key": SECRET, "timeout": 60, "pause": 0.01, **more})


@pytest.fixture
def endpoint():
    endpoint = Endpoint()
    yield endpoint
    endpoint.server.shutdown()
    endpoint.server.server_close()


def test_every_topic_is_named_from_its_words_and_documents(endpoint):
    assert llm_labels(TEXTS, endpoint.settings()) == {topic: f"Name of {topic}" for topic in range(6)}
    request = endpoint.requests[0]
    assert request["path"] == "/v1/chat/completions"
    assert request["headers"]["Authorization"] == f"Bearer {SECRET}"
    assert (request["body"]["model"], request["body"]["temperature"]) == ("m", 0)
    system, user = request["body"]["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert user["content"].count("<document>document of") == 4


def test_no_more_requests_at_once_than_allowed(endpoint):
    two = threading.Barrier(2, timeout=60)
    endpoint.behave = lambda _number, topic: (two.wait(), time.sleep(0.03), (200, topic))[2]
    llm_labels(TEXTS, endpoint.settings(concurrency=2))
    assert endpoint.most_open == 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_tried_again(endpoint, status, caplog):
    endpoint.behave = lambda number, topic: (status, b"busy") if number <= 2 else (200, f"Name {topic}")
    assert llm_labels(TEXTS[:1], endpoint.settings()) == {0: "Name 0"}
    assert len(endpoint.requests) == 3
    assert not caplog.records


def test_a_server_says_how_long_to_wait(endpoint):
    endpoint.behave = lambda number, _: (429, b"", [("Retry-After", "1")]) if number == 1 else (200, "Name")
    start = time.monotonic()
    assert llm_labels(TEXTS[:1], endpoint.settings()) == {0: "Name"}
    assert time.monotonic() - start >= 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((401, SECRET.encode()), "HTTP 401"),
        ((404, b"no such model"), "HTTP 404"),
        ((302, b"", [("Location", "http://127.0.0.1:9/")]), "HTTP 302"),
        ((500, b"broken"), "HTTP 500, 2 times"),
    ],
)
def test_an_endpoint_that_fails_is_left_alone_and_named_once(endpoint, caplog, answer, reason):
    endpoint.behave = lambda *_: answer
    with caplog.at_level(logging.DEBUG):
        assert llm_labels(TEXTS, endpoint.settings(concurrency=1, attempts=2)) == {}
    assert [record.message for record in caplog.records] == [
        f"6 of 6 topics keep their words as label: {endpoint.url}: {reason}"
    ]
    assert len(endpoint.requests) == (2 if "times" in reason else 1)
    assert SECRET not in caplog.text


def test_nobody_listens(caplog):
    settings = LlmSettings("m", "http://127.0.0.1:9/v1", SECRET, attempts=2, pause=0.01)
    assert llm_labels(TEXTS, settings) == {}
    assert "ConnectionRefusedError, 2 times" in caplog.text


def test_an_answer_that_takes_too_long_is_none(endpoint, caplog):
    endpoint.behave = lambda *_: (time.sleep(0.6), (200, "late"))[1]
    assert llm_labels(TEXTS[:1], endpoint.settings(timeout=0.1, attempts=2)) == {}
    assert "no answer in time, 2 times" in caplog.text


@pytest.mark.parametrize(
    "garbage",
    [
        b"<html>",
        b"{}",
        b"[]",
        b"null",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": null}}]}',
        b"\xff",
        "",
        "***",
    ],
)
def test_garbage_costs_its_topic_the_label_and_no_other(endpoint, caplog, garbage):
    endpoint.behave = lambda _, topic: (200, garbage if topic == "3" else f"Name {topic}")
    assert set(llm_labels(TEXTS, endpoint.settings())) == {0, 1, 2, 4, 5}
    assert "1 of 6 topics keep their words as label" in caplog.text
    assert "an answer that holds no label" in caplog.text


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ('"Motorcycle Riding."', "Motorcycle Riding"),
        ("**Label:** Space  *flight*\nBecause the words…", "Space flight"),
        ("<think>hmm</think>\n\nTopic name: Ice hockey", "Ice hockey"),
        ("<script>alert(1)</script>Graphics", "alert(1) Graphics"),
        ("Name\x1b[31m of\x07 it", "Name 31m of it"),
        ("C++ and C#", "C++ and C"),
        ("…", None),
        ("<think>never ended", None),
    ],
)
def test_labels_are_one_plain_line(answer, label):
    assert clean_label(answer) == label


@given(st.text(max_size=200))
def test_whatever_the_answer_a_label_is_short_printable_and_plain(answer):
    label = clean_label(answer)
    if label is not None:
        assert 0 < len(label) <= MAX_LABEL_CHARACTERS
        assert label.isprintable()
        assert not set("<>*`\n") & set(label)


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("OPENAI_BASE_URL", "https://llm.example/v1/")
    settings = LlmSettings.from_environment("m")
    assert (settings.url, settings.key) == ("https://llm.example/v1", SECRET)
    assert SECRET not in repr(settings)
    assert LlmSettings.from_environment("m", "http://localhost:8000/v1").url == "http://localhost:8000/v1"


@pytest.mark.parametrize(
    ("model", "url", "message"),
    [
        (None, None, "--llm-model"),
        ("m", None, "OPENAI_API_KEY"),
        ("m", "file:///etc/passwd", "http://localhost:8000/v1"),
        ("m", "localhost:8000", "http://localhost:8000/v1"),
        ("m", "https://user:pass@host/v1", "without user"),
    ],
)
def test_settings_with_which_nothing_can_be_asked(monkeypatch, model, url, message):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(UsageError, match=message):
        LlmSettings.from_environment(model, url)


def test_names_are_kept_and_a_hand_is_not_overruled(endpoint, fitted, tmp_path):
    shutil.copytree(Path(fitted.uri).parent, tmp_path / "lake")
    table = tmp_path / "lake" / "docs"
    label_topic(table, 2, "By hand")
    endpoint.behave = lambda number, _: (200, f"Name {number}")

    def name(*, all_unlocked):
        names = name_topics(load_topics(table), endpoint.settings(concurrency=1), again=all_unlocked)
        set_labels(table, names, source="llm", locked=False)
        rows = load_topics(table).topics().select(["topic", "label", "label_source"]).to_pylist()
        return {row["topic"]: (row["label"], row["label_source"]) for row in rows}

    first = name(all_unlocked=False)
    assert first[2] == ("By hand", "hand")
    assert sorted(source for _, source in first.values()) == ["hand", "llm", "llm", "llm", "llm"]
    asked = " ".join(request["body"]["messages"][1]["content"] for request in endpoint.requests)
    assert "<document>the " in asked
    assert len(endpoint.requests) == 4
    assert name(all_unlocked=False) == first
    assert len(endpoint.requests) == 4
    again = name(all_unlocked=True)
    assert again[2] == first[2]
    assert {topic for topic in first if again[topic] != first[topic]} == {0, 1, 3, 4}
