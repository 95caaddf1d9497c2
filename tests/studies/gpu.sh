#!/usr/bin/env bash
# All that only a GPU can say, in one go: the tests of CUDA, the tables of speed, a small matrix. Run
# it in a checkout on a machine with a GPU, in an environment that has the suite and its tests:
#
#     bash tests/studies/gpu.sh [PYTHON]
#
# What fails does not stop the rest. It leaves gpu.tar.gz: a log of every part with its exit code,
# speed.csv with its figure, and the result set of the matrix with its report.
set -uo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${1:-.venv/bin/python}
FOLDER=results/gpu
mkdir -p "$FOLDER"
export GANBENCH_DEVICE=cuda GANBENCH_SPEED="$PWD/$FOLDER/speed/speed.csv" PYTHONPATH=".${PYTHONPATH:+:$PYTHONPATH}"

part() {
  local name=$1
  shift
  "$@" >"$FOLDER/$name.log" 2>&1
  local code=$?
  echo "$name: exit code $code" | tee -a "$FOLDER/parts.txt"
}

: >"$FOLDER/parts.txt"
part device "$PYTHON" -c 'import torch; print(torch.__version__, torch.cuda.get_device_properties(0))'
part tests "$PYTHON" -m pytest -m "gpu and not speed" -o addopts=--strict-markers tests
part speed "$PYTHON" -m pytest -m "speed and gpu" -o addopts=--strict-markers -s tests/speed
part matrix "$PYTHON" -m benchmark run --matrix quick --set seeds=2 --device cuda --results "$FOLDER"
part report "$PYTHON" -m benchmark report --matrix quick --results "$FOLDER"
tar czf gpu.tar.gz -C results gpu
echo "gpu.tar.gz"
