"""ganbench: which GAN objective, on which architecture, how fast, how good, how reliably?

The pipeline, one stage per module, in the order a matrix goes through them:

    cli          `ganbench VERB`: one verb per stage; those that read results are in cli_results
    options      the options of a matrix file: types, defaults, meaning
    matrix       TOML file -> list of cells (objective x architecture x dataset x seed)
    choices      what a value on an axis stands for; which pairs can train
    cell         one cell: spec, key, folder, random streams, atomic files
    stored       the shapes of the files of a result set; environment, what a number depends on beside the spec
    prepare      what a run needs before its first cell: data, noise floors; which cells are pending
    driver       hands cells to an engine, the longest first (schedule), and sees every one through
    claim        who runs a cell now: locks
    engines      where a cell runs: local processes, a Ray cluster
    progress     what a run says: options, plan, a line per worker and the time left
    status       what every cell is at, and the time left, for anyone else; status_page shows it
    runner       one cell, trained, measured and saved as it goes
    attempt      one start of a cell: what its status says; checkpoint, what the next start goes on from
    memory       what a cell takes, and the line for too little of it
    workload     a fixed reference workload, timed beside every cell
    stacking     how many seeds to train as one stack; stacked_runner runs them in lockstep
    train        one cell, or a stack of seeds: a generator of snapshots (snapshot)
    build        from a cell's words to objects: objective, networks, recipe
    batches      real data on the device, or fetched ahead from host memory; draws, all that is random in a step
    iteration    the critic steps and the generator step: eager, compiled, captured (graph), of one seed or a stack
    step         one adversarial step; cost, in critic forwards; products, quicker ones on CPUs
    probes       what a run looks like from inside: scores, gradients, slopes, held-out loss
    measure      snapshot -> numbers, one file per modality
    metrics      every metric's unit, direction, label and tolerance
    merge        results of shards that share no disk -> one folder
    sample       a cell's samples for anyone else's metrics
    export       result files -> trackers: TensorBoard, MLflow, Weights & Biases
    rows         many JSONL files -> one frame, quickly
    tables       cell folders -> cells / evals / steps / layers / summary / convergence
    convergence  best, final, area, equal time, cost to target on four clocks
    verdicts     the ways a run can fail: thresholds and reasons
    stability    a verdict per cell, and the indices
    stopping     is the critic's loss a stopping criterion; does the critic overfit
    bootstrap    IQM, probability of improvement and their intervals
    stats        families of tests, time to target, power, rank stability, profiles
    evidence     who leads where, what the seeds can tell apart, ranks, power
    figure       how figures look and are saved; panels, the layouts that show every place
    plots        every figure in reading order, each with its CSV: plots (values, cost), sample_plots, robustness_plots,
                 trace_plots (over a run), speed_plots, stability_plots, certainty_plots
    report       tables + figures -> report.md and index.html: report_where (what ran, who wins where), report_how (how
                 fast, how reliable, at what cost), report_sure (what failed, how sure, how to reproduce), report_why
                 (what explain found)
    compare      variants, or result sets, side by side; compare_page and compare_plots show it
    check        results against a committed baseline; gate holds the rule
    explain      small exact experiments, one file each, and their page
"""

__version__ = "0.1.0"
