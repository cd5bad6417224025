from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SpecError
from pipeline.prompts import NAMED_PROMPTS, prompt_template


def as_the_authors_do(text: str, template: str) -> str:
    if len(text) > 0 and text[-1] not in ".?!\"'":
        text += "."
    text = text.replace('"', "'")
    return template.replace("{text}", text).replace("_", " ").strip()


@given(st.text(), st.sampled_from(sorted(NAMED_PROMPTS)))
def test_named_prompts_handle_text_as_the_authors_do(text, name):
    printable = text.encode("utf-8", "replace").decode()
    assert prompt_template(name).fill(text).full == as_the_authors_do(printable, NAMED_PROMPTS[name])


@given(st.text(), st.sampled_from([*sorted(NAMED_PROMPTS), "{text}", "  _{text}", "q: {text}\n"]))
def test_the_span_is_where_the_text_is(text, prompt):
    filled = prompt_template(prompt).fill(text)
    assert 0 <= filled.start <= filled.stop <= len(filled.full)
    inside = filled.full[filled.start : filled.stop]
    if prompt not in NAMED_PROMPTS:
        assert inside == text.encode("utf-8", "replace").decode()
    else:
        assert (
            inside.rstrip(".").strip()
            == text.encode("utf-8", "replace").decode().replace('"', "'").replace("_", " ").rstrip(".").strip()
        )


def test_a_template_of_ones_own_changes_nothing():
    assert prompt_template("[{text}]").fill('a_"b" ').full == '[a_"b" ]'


@pytest.mark.parametrize("prompt", ["", "nonsense", "{text}{text}", "{tekst}"])
def test_a_prompt_without_one_place_for_the_text_is_refused(prompt):
    with pytest.raises(SpecError, match=r"\{text\} exactly once"):
        prompt_template(prompt)
