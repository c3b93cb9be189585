"""The schema: what it says is what is answered, whatever is sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from tests.serve.running import API, PATIENCE_S, Running

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")

EXAMPLES = 4  # of each address
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_whatever_is_sent_is_answered_as_the_schema_says(service: Running, mode: str) -> None:
    address = f"http://127.0.0.1:{service.port}{API}/openapi.json"
    asked = 0
    for found in schemathesis.openapi.from_url(address).get_all_operations():
        operation = found.ok()
        sent = operation.definition.raw.get("requestBody", {}).get("content", {})
        if mode == "negative" and "application/json" not in sent:
            continue  # any bytes may be a picture's
        cases = operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode))

        @given(case=cases)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def answered(case: Any) -> None:
            nonlocal asked
            asked += 1
            case.call_and_validate(checks=CHECKS, timeout=PATIENCE_S)

        answered()
    assert asked > 30


def test_every_verb_has_an_address_a_sentence_and_typed_refusals(service: Running) -> None:
    described = service.client.get(f"{API}/openapi.json").json()
    assert described["openapi"].startswith("3.")
    for verb in ("draw", "mix", "express", "edit", "stylize", "lookalike", "merge", "translate"):
        post = described["paths"][f"{API}/{verb}"]["post"]
        assert post["description"]
        sent = post["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        fields = described["components"]["schemas"][sent.rpartition("/")[2]]
        assert fields["additionalProperties"] is False
        assert "image/png" in post["responses"]["200"]["content"]
        for status in ("401", "413", "422", "429", "503"):
            refusal = post["responses"][status]["content"]["application/json"]["schema"]
            assert refusal["$ref"].endswith("/Problem")


def test_what_was_not_foreseen_says_nothing_of_the_inside(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = service.nobody()

    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a secret path: /root/.ssh")

    monkeypatch.setattr(service.service.studio, "render", broken)
    refused = service.client.post(f"{API}/draw", json={"face": face})
    assert refused.status_code == 500
    assert refused.json()["code"] == "RunError"
    assert "secret" not in refused.text
