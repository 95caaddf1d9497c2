"""One run of a matrix: plan, prepare, drive, and what came of it."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

from benchmark.machine.environment import environment
from benchmark.matrix.cell import Cell
from benchmark.matrix.files import open_matrix
from benchmark.matrix.options import Matrix
from benchmark.run import plan
from benchmark.run.driver import Driver
from benchmark.run.engines.base import Pool
from benchmark.run.events import CellNews, Ended, Limits, Task
from benchmark.run.options import RunOptions
from benchmark.run.ownership import restart_all
from benchmark.run.plan import (
    check_size,
    estimate,
    hold_races,
    missing_data,
    pending,
    races,
    statuses,
)
from benchmark.run.queue import learned
from benchmark.run.reporter import Reporter, Silent, Summary
from benchmark.run.search.growing import Growing, alike
from benchmark.run.stacking import Stacks
from benchmark.store.code import CodeHashes
from benchmark.store.files import check_writable
from benchmark.store.layout import RESULTS, ResultSet
from benchmark.store.locks import alone
from benchmark.store.origin import check_same, write_grown
from benchmark.store.schema import MatrixFile, RunStatus, Status
from benchmark.text import plural


def run_matrix(
    matrix: str | Path | Matrix,
    options: RunOptions | None = None,
    results: Path = RESULTS,
    reporter: Reporter | None = None,
) -> Summary:
    """Run the cells of a matrix that are not settled yet; unfinished ones are resumed. Raises
    UserError."""
    return Session(matrix, options or RunOptions(), results).run(reporter or Silent())


class Session:
    """One run of a matrix: the name of a shipped one, the path of a file, or a Matrix (its result
    set is called `matrix`)."""

    def __init__(self, matrix: str | Path | Matrix, options: RunOptions, results: Path) -> None:
        self.options = options
        opened = open_matrix(matrix, options.all_overrides)
        self.config, self.name, self.description, self.file = opened
        self.devices = self._devices()
        self.results = ResultSet(check_writable(results / self.name, "--results"))
        self.results.refuse_links()
        check_same(self.results, self.file, self.config)
        # The tables know the whole matrix, whatever part of it runs here
        self.growing = Growing(self.config, options, self.results.path)
        self.cells: dict[str, Cell] = {}
        self.faults: dict[str, str] = {}
        """Key → the fault of a damaged cell, which therefore runs again."""
        self.known: dict[str, Status] = {}
        self.todo: dict[str, Cell] = {}
        self._take(self.growing.chosen)
        if options.engine == "local":
            check_size(self.todo.values(), self.devices[0])

    def _take(self, cells: dict[str, Cell]) -> dict[str, Cell]:
        """Add cells to those of the run. Returns those that are to run."""
        known, faults = statuses(self.results, cells, self.growing.rung)
        options = self.options
        todo = pending(cells, known, force=options.force, retry_errors=options.retry_errors)
        self.cells |= cells
        self.known |= known
        self.faults |= faults
        self.todo |= todo
        return todo

    def _devices(self) -> list[str]:
        """One device per worker; on Ray the device of this process."""
        from benchmark.machine.devices import devices_of

        is_local = self.options.engine == "local" or self.options.device == "cpu"
        return devices_of(self.options.device if is_local else "auto", self.options.jobs)

    @property
    def headline(self) -> str:
        """What will run where, in one line."""
        where = "Ray"
        if self.options.engine == "local":
            named = ", ".join(dict.fromkeys(self.devices))
            where = f"{plural(len(self.devices), 'worker')} on {named}"
        return (
            f"{self.name}: {plural(len(self.cells), 'cell')}, {len(self.todo)} to run, {where}, "
            f"{self.results.path}"
        )

    @cached_property
    def estimates(self) -> dict[str, float | None]:
        """Seconds per cell to run, by key; None if unknown."""
        stands_for = partial(alike, self.growing.now.parts)
        return estimate(self.cells, self.known, self.devices[0], self.todo, stands_for)

    @cached_property
    def missing_data(self) -> dict[str, str]:
        """Dataset → what to do, for the cells to run whose data is not on this machine."""
        return missing_data(self.todo.values())

    @property
    def matrix_file(self) -> MatrixFile:
        from benchmark.run.prepare import command_of, matrix_file

        command = command_of(self.results, self.file, self.options)
        if not self.todo and self.results.exists:
            # The cells were made as an earlier run was asked
            known = self.results.matrix.command
            command.options = known.options if known else {}
        cells, parts, _ = self.growing.now
        return matrix_file(self.name, self.description, self.config, cells, command, parts)

    def num_stale(self) -> int:
        """Finished cells that are kept although other code or evaluation options made them."""
        hashes = CodeHashes()
        stale = 0
        for key, cell in self.cells.items():
            status = self.known[key]
            if key not in self.todo and status.status.is_finished:
                stale += hashes.is_stale(status, cell.evaluation_hash, cell)
        return stale

    def run(self, reporter: Reporter) -> Summary:
        """Prepare, and run what is to run."""
        todo = [*self.todo.values()]
        self.options = plan.checked(self.options, self.devices, todo, reporter.note)
        if self.faults:
            first = next(iter(self.faults.values()))
            reporter.note(f"damaged cells that run again: {len(self.faults)}: {first}")
        if stale := self.num_stale():
            reporter.note(
                f"{stale} finished cells are stale (different code or evaluation options): kept; "
                "--force runs them again"
            )
        with closing(self._pool()) as pool:
            reporter.note("preparing datasets, extractors and noise floors …")
            self._prepare(reporter)
            stacks = self.stacks(reporter)
            tasks = self.tasks(stacks, self.todo)
            self.race(stacks, pool, reporter)
            if self.options.force:
                restart_all(self.results.path, tasks)
            return self._drive(tasks, pool, reporter, stacks)

    def stacks(self, reporter: Reporter) -> Stacks:
        """Which cells train as one model, and how their steps are executed."""
        options = self.options
        # On Ray every seed trains by itself
        asked = "1" if options.engine == "ray" else options.stack
        final = self.config.search.seeds if self.growing.first.parts else ()
        cells, device = self.growing.first.cells, self.devices[0]
        return Stacks(cells, device, options.execution, asked, reporter.note, final)

    def tasks(self, stacks: Stacks, todo: dict[str, Cell]) -> list[Task]:
        """What is to run, cells of a stack together."""
        together: dict[str, list[Task]] = defaultdict(list)
        for key, cell in todo.items():
            stack = stacks.stack_of(cell)
            first = stack[0].key if stack else key
            execution = stacks.execution_of(cell)
            attempt, rung = self._settled_attempt(key), self.growing.rung(key)
            task = Task(cell, attempt, stack=stack, execution=execution, rung=rung)
            together[first].append(task)
        return [replace(task, stacked_with=tuple(others)) for task, *others in together.values()]

    def race(self, stacks: Stacks, pool: Pool, reporter: Reporter) -> None:
        """Race the places that have cells to run and no search."""
        contests = races(self.growing.unsearched, self.todo, stacks)
        if not contests:
            return
        options = self.options
        device, threads = None, max(1, int(options.cpus_per_cell or 1))
        if options.engine == "local":
            device, threads = environment(self.devices[0]).device, options.threads
        with self._alone():
            hold_races(contests, self.results, pool, (device, threads), reporter.note)

    def grow(self, key: str, stacks: Stacks, reporter: Reporter) -> list[Task]:
        """What is to run in addition once a cell has ended."""
        before = self.growing.now
        new = {cell.key: cell for cell in self.growing.grow(key)}
        if self.growing.now is not before:
            with self._alone():
                write_grown(self.results, self.matrix_file)
        todo = self._take(new)
        tasks = self.tasks(stacks, todo)
        if tasks:
            reporter.add(len(todo))
        if self.options.force:
            restart_all(self.results.path, tasks)
        return tasks

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While what the whole result set has is written."""
        from benchmark.run.prepare import writing_results

        with alone(self.results), writing_results(self.results):
            yield

    def _settled_attempt(self, key: str) -> str | None:
        """The attempt that has ended a cell. One that is still at work may end it from now on: the
        cell is then settled by another run."""
        known = self.known[key]
        is_open = known.status in (RunStatus.RUNNING, RunStatus.INTERRUPTED)
        return None if is_open else known.attempt

    def _pool(self) -> Pool:
        options = self.options
        if options.engine == "ray" and self.todo:
            from benchmark.run.engines import ray

            cpus = 1.0 if options.cpus_per_cell is None else options.cpus_per_cell
            gpus = options.gpus_per_cell or 0.0
            resources = ray.Resources(options.device, options.jobs, cpus, gpus)
            return ray.Pool(
                self.results.path,
                options.address,
                resources,
                options.checkpoint_every,
            )
        from benchmark.run.engines import local

        worker_options = local.WorkerOptions(
            self.results.path, options.threads, options.checkpoint_every
        )
        is_fixed = not (self.growing.first.parts and self.todo)
        num_workers = len(self.todo) if is_fixed else len(self.devices)
        return local.Pool(self.devices[:num_workers], worker_options)

    def _prepare(self, reporter: Reporter) -> None:
        from benchmark.run.prepare import prepare

        with alone(self.results):
            protocols = self.results.protocols
            needed = [
                cell
                for key, cell in self.cells.items()
                if key in self.todo or cell.dataset.label not in protocols
            ]
            prepare(
                self.results, self.matrix_file, needed, self.devices[0], self.todo, reporter.note
            )

    def _drive(self, tasks: list[Task], pool: Pool, reporter: Reporter, stacks: Stacks) -> Summary:
        ended: dict[str, RunStatus] = {}

        def on_news(news: CellNews) -> None:
            if isinstance(news.event, Ended):
                ended[news.event.key] = news.event.status.status
            reporter.news(news)

        options = self.options
        driver = Driver(
            tasks,
            pool,
            self.results.path,
            on_news,
            limits=Limits(options.timeout, options.fail_fast, options.wait),
            known=learned((cell.spec, self.known[key]) for key, cell in self.cells.items()),
            grow=lambda key: self.grow(key, stacks, reporter),
        )
        interrupted = False
        reporter.begin(len(self.todo), pool.capacity())
        try:
            driver.run()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            reporter.end()
        return Summary(self.name, self.results.path, self._statuses(ended), interrupted)

    def _statuses(self, ended: dict[str, RunStatus]) -> dict[str, RunStatus]:
        """The statuses after the run. A cell that was to run and did not end here has the status on
        disk: another run has it, or nobody."""
        statuses = {}
        for key in self.cells:
            if key in ended:
                statuses[key] = ended[key]
            elif key in self.todo:
                statuses[key] = self.results.cell(key).status.status
            else:
                statuses[key] = self.known[key].status
        return statuses
