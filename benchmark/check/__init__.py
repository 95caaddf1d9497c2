"""The gate of `ganbench check`: results against a committed baseline.

One verdict for each group (objective, architecture and dataset) and metric. Its mark:

    +   not beyond its band of the baseline on the bad side
    −   worse: beyond the band on the bad side, and the seeds tell the two apart
    !   more seeds diverged than in the baseline, and more than chance explains
    ≠   the numbers of a seed that both have are not the same, and not by rounding: `numbers` says
        from which step on
    ~   suspect: beyond the band on the bad side, or more diverged, but not separated
    ?   cannot see: the band reaches a generator that learned nothing, or one side has no reference
        workload
    x   cannot be compared: missing from one side, incomplete, stale, finished without a value,
        trained with other options, or measured under another protocol

Exit code 0 when every mark is +, ≠, ~ or ?; 1 for any − or !, and for ≠ where it is asked for; 2
for any x, which is never a pass.

rows.py and traces.py say what is compared; rule.py how the marks are found, with worse.py,
divergence.py and paired.py; numbers.py at which step two runs part; baseline.py reads results and
writes the baseline, output.py prints verdicts."""
