"""The exported folder under `python -m mlx_lm generate`, a program that knows nothing of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runtime.models.generate import generate, prompt_tokens
from runtime.models.load import write_model_folder
from tests.unit.models.teaching import teach_answers

pytestmark = pytest.mark.slow

QUESTION, ANSWER = "say hi", "hi é there"


def test_mlx_lm_generate_answers_a_prompt_with_our_own_text(tmp_path: Path) -> None:
    from mlx.utils import tree_flatten

    taught = teach_answers({QUESTION: ANSWER, "count": "1, 2, 3"})
    write_model_folder(tmp_path, taught, dict(tree_flatten(taught.model.parameters())))
    prompt = prompt_tokens(taught.tokenizer, [{"role": "user", "content": QUESTION}])
    ours = generate(taught.model, taught.tokenizer, prompt, max_tokens=32).text
    options = ["--model", str(tmp_path), "--prompt", QUESTION, "--max-tokens", "32", "--verbose", "False"]
    theirs = subprocess.run(
        [sys.executable, "-P", "-m", "mlx_lm", "generate", *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert theirs.stdout.strip() == ours == ANSWER
