"""Whole trainings on a GPU that computes nothing."""

import pytest
import torch


@pytest.fixture(autouse=True)
def nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake GPU has no streams; torch refuses to wait for them once it is initialised."""
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device=None: None)
