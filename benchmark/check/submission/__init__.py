"""Submissions: results that others send for the leaderboard, and what they are checked against.

A submission is a result set in results/submissions/VERSION/NAME, where VERSION is a Major.Minor of
the suite: results of one such version compare, those of two never do. rules.json in the folder of
the version is frozen: it says which places and seeds count, under which options and protocol, and
what the targets are. No code of a submission is run.

rules.py holds the rules, verify.py what a submission is refused for, copies.py what two of them
share, gate.py the comparison with the baseline, board.py the leaderboard and what is printed."""
