"""Compiled steps without the compiler."""

from typing import Any

import pytest
import torch

from benchmark.train.execution import ahead


def without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be compiled, the graph of operators of a step, is run as it is."""

    class Traced:
        def __init__(self, graph: Any) -> None:
            self.graph = graph

        def run(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
            with torch.no_grad():
                return [*self.graph(*tensors)]

    def library(self: Any, tensors: Any, tree: Any) -> Any:
        graph, result_tree = ahead.traced(self.function, tensors, tree)
        return Traced(graph), result_tree

    monkeypatch.setattr(ahead.Ahead, "_library", library)
