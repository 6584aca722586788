"""The server starts, answers, and stops."""


def test_health_and_ready(served):
    assert served.client.get("/health").json() == {"status": "ok"}
    assert served.client.get("/ready").json() == {"status": "ready"}
    assert served.client.head("/health").is_success
    assert "server" not in served.client.get("/health").headers
