"""History: the gate's values over the commits of a project, and where they changed.

One frozen baseline cannot see a slow drift: each commit is within its band. read.py reads accepted
baselines from git or from files, and result sets; series.py looks for changes with the chart of
stats/cusum.py; output.py writes them as text and for other tools."""
