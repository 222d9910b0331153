"""The command line: what a user types becomes a call of the library, its outcome text, its errors exit codes.

Only click is imported before a command runs, so that help is instant.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

import click

from jevons.errors import JevonsError, Problem, ScenarioError, UsageError

if TYPE_CHECKING:
    from jevons.answer import Result
    from jevons.comparison import Side
    from jevons.day import DayResult
    from jevons.scenario import Scenario
    from jevons.workers import Beside, Progress

Function = TypeVar("Function", bound=Callable[..., Any])
Format = Literal["table", "json", "csv"]

#: More processes than this are started only when asked for.
MOST_WORKERS = 8
#: The largest `run.resolution` that a scenario may have: every request is simulated.
FULL_RESOLUTION = 10**10
INTERRUPTED = 130
#: What takes a process long to import that makes draws and draws figures.
NEEDED_BESIDE = (
    "jevons.ensemble",
    "jevons.report.figures",
    "matplotlib.figure",
    "matplotlib.dates",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
)


class Program(click.Group):
    """The commands, with the errors of all of them turned into messages and exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except ScenarioError as error:
            # As file:line:column, for editors: no word before it.
            _stop(ctx, str(error), error.exit_code)
        except JevonsError as error:
            _stop(ctx, f"Error: {error}", error.exit_code)
        except BrokenPipeError:
            raise
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            _stop(ctx, f"Error: {place}{error.strerror or error}", 1)
        except KeyboardInterrupt:
            _stop(ctx, "Interrupted.", INTERRUPTED)


def _stop(ctx: click.Context, message: str, exit_code: int) -> NoReturn:
    click.echo(message, err=True)
    ctx.exit(exit_code)


def show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the version and stop."""
    if wanted and not ctx.resilient_parsing:
        import jevons

        click.echo(f"jevons {jevons.__version__}")
        ctx.exit()


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=show_version, help="Show the version."
)
def main() -> None:
    """Does an efficiency shock raise or lower the use of GPUs?

    \b
    Example:
      jevons simulate scenarios/deepseek.toml -o out/deepseek

    Results go to stdout, everything else to stderr.  Exit codes: 0 done, 1 the run failed, 2 wrong usage
    or scenario, 130 interrupted.
    """


def override_options(function: Function) -> Function:
    """Options that change a scenario."""
    for option in (
        click.option(
            "--resolution",
            metavar="N|full",
            callback=number_of_requests,
            help="Requests simulated for each served day (run.resolution).",
        ),
        click.option("--replications", type=int, help="Independent repetitions (run.replications)."),
        click.option("--seed", type=int, help="Seed of all random numbers (run.seed)."),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value; repeatable."),
    ):
        function = option(function)
    return function


def run_options(function: Function) -> Function:
    """Options that say how to run and what to print."""
    for option in (
        click.option("-q", "--quiet", is_flag=True, help="No progress."),
        click.option(
            "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True,
            help="Of what is printed.",
        ),
        click.option("--workers", type=int, help=f"Threads or processes; else one a core, at most {MOST_WORKERS}."),
        click.option(
            "--engine", type=click.Choice(["compiled", "simpy", "closed_form"]), default="compiled",
            show_default=True,
            help="What serves the requests: one by one compiled or on SimPy, or by formula.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def number_of_requests(_: click.Context, option: click.Parameter, value: str | None) -> int | None:
    """A number of requests, or the largest for `full`."""
    if value is None or value == "full":
        return None if value is None else FULL_RESOLUTION
    try:
        return int(value)
    except ValueError:
        raise click.BadParameter(f"must be a whole number or 'full', not {value!r}", param=option) from None


@main.command()
@click.argument("scenarios", nargs=-1, required=True, metavar="SCENARIO...")
@click.option("-o", "--output", metavar="DIR", help="Write summary, series, hours, figures and manifest there.")
@override_options
@click.option("--draws", type=int, help="Draws of the uncertain inputs (run.draws).")
@run_options
def simulate(
    scenarios: tuple[str, ...],
    output: str | None,
    overrides: tuple[str, ...],
    seed: int | None,
    replications: int | None,
    draws: int | None,
    resolution: int | None,
    engine: str,
    workers: int | None,
    form: Format,
    quiet: bool,
) -> None:
    """Simulate scenarios: a market over months with a shock, or one served day.

    SCENARIO is a TOML file, or - for standard input.  With several, each gets a directory of its own in DIR.

    \b
    Examples:
      jevons simulate scenarios/deepseek.toml -o out/deepseek
      jevons simulate scenarios/deepseek.toml --set segments.reasoning.price_elasticity=-1.4
    """
    changes = all_overrides(overrides, seed, replications, draws, resolution)
    loaded = loaded_scenarios(scenarios, changes)
    directories = directories_of(output, loaded)
    check_format(form, loaded)
    results = []
    with process_beside(loaded, directories, workers) as beside:
        for scenario, directory in zip(loaded, directories, strict=True):
            result = simulated(scenario, engine, workers, quiet, beside)
            written = [] if directory is None else write(result, directory, beside)
            results.append(result)
            if form == "table":
                click.echo(table_of(result), nl=False)
                if directory is not None:
                    click.echo(files_line(directory, written))
                if scenario is not loaded[-1]:
                    click.echo()
    if form != "table":
        click.echo(data_of(results, form), nl=False)


def all_overrides(
    overrides: Sequence[str], seed: int | None, replications: int | None, draws: int | None, resolution: int | None
) -> list[str]:
    """The overrides, and those that have an option of their own."""
    own = {"seed": seed, "replications": replications, "draws": draws, "resolution": resolution}
    return [*overrides, *(f"run.{key}={value}" for key, value in own.items() if value is not None)]


def loaded_scenarios(sources: Sequence[str], overrides: Sequence[str]) -> list[Scenario]:
    """The scenarios of some files; the problems of all of them are reported together."""
    from jevons.scenario import load

    loaded: list[Scenario] = []
    problems: list[Problem] = []
    for source in sources:
        try:
            loaded.append(load(source, overrides))
        except ScenarioError as error:
            problems += error.problems
    if problems:
        raise ScenarioError(list(dict.fromkeys(problems)))
    return loaded


def directories_of(output: str | None, scenarios: Sequence[Scenario]) -> list[Path | None]:
    """Where each scenario's files go, looked at before anything runs."""
    if output is None:
        return [None] * len(scenarios)
    from jevons.report.files import check_directory

    names = [scenario.name for scenario in scenarios]
    if len(set(names)) < len(names):
        raise UsageError(f"scenarios in one directory need different names, not {', '.join(names)}")
    place = Path(output)
    return [check_directory(place if len(names) == 1 else place / name) for name in names]


def check_format(form: Format, scenarios: Sequence[Scenario]) -> None:
    """Refuse, before anything runs, a form that a result will not have."""
    if form == "csv" and any(scenario.kind == "day" for scenario in scenarios):
        raise UsageError("a served day has no csv summary: use --format json, or -o and its hours.csv")


def number_of_workers(asked_for: int | None) -> int:
    """As many as asked for, or one for each core, up to a limit."""
    return min(os.cpu_count() or 1, MOST_WORKERS) if asked_for is None else asked_for


def process_beside(scenarios: Sequence[Scenario], directories: Sequence[Path | None], workers: int | None) -> Beside:
    """A process for draws and figures, started now if some of the scenarios will have figures."""
    from jevons.workers import Beside

    beside = Beside(number_of_workers(workers) > 1)
    if any(s.kind == "market" and d is not None for s, d in zip(scenarios, directories, strict=True)):
        beside.get_ready(NEEDED_BESIDE)
    return beside


def simulated(
    scenario: Scenario, engine: str, workers: int | None, quiet: bool, beside: Beside | None = None
) -> Result | DayResult:
    """What a scenario comes to, with a bar for the time it takes."""
    from jevons.serving import engine as engine_named

    count = number_of_workers(workers)
    if (waits := engine_named(engine).preparation()) and not quiet:
        click.echo(f"jevons: {waits}", err=True)
    with progress(scenario.name, quiet) as tell:
        if scenario.kind == "day":
            from jevons.day import simulate_day

            return simulate_day(scenario, engine=engine, workers=count, progress=tell)
        from jevons.ensemble import simulate as simulate_market

        return simulate_market(scenario, engine=engine, workers=count, progress=tell, beside=beside)


@contextmanager
def progress(name: str, quiet: bool) -> Iterator[Progress]:
    """A bar on stderr for each stage of a run, where somebody may be watching."""
    if quiet or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        bars: dict[str, Any] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = display.add_task(f"{name}: {stage}", total=total)
            display.update(bars[stage], completed=done, total=total)

        yield tell


def write(result: Result | DayResult, directory: Path, beside: Beside) -> list[str]:
    """Write a result's files; their names."""
    from jevons.answer import Result

    if isinstance(result, Result):
        from jevons.report.files import write_run

        return write_run(result, directory, beside)
    from jevons.report import day_text

    return list(day_text.write_run(result, directory))


def table_of(result: Result | DayResult) -> str:
    """The table of a result."""
    import jevons.report.showing  # noqa: F401 (tells results how to show themselves)

    text = repr(result)
    return text if text.endswith("\n") else f"{text}\n"


def files_line(directory: Path, written: Sequence[str]) -> str:
    """What was written where."""
    from jevons.report.text import paragraph

    return "\n".join(paragraph("Files", [f"{directory}: {', '.join(written)}"]))


def data_of(results: Sequence[Result | DayResult], form: Format) -> str:
    """Results as JSON (a list of several) or as comma-separated values."""
    from jevons.answer import Result
    from jevons.report.data import summary_csv, summary_json, to_json

    if form == "csv":
        return summary_csv([result for result in results if isinstance(result, Result)])
    summaries = [summary_json(result) if isinstance(result, Result) else data_of_day(result) for result in results]
    return to_json(summaries[0] if len(summaries) == 1 else summaries)


def data_of_day(result: DayResult) -> Any:
    """A served day as data."""
    from jevons.report import day_text

    return day_text.summary_json(result)


@main.command()
@click.argument("scenarios", nargs=-1, required=True, metavar="SCENARIO...")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value; repeatable.")
def check(scenarios: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Check scenarios without running them: every problem at once, with its place.

    \b
    Example:
      jevons check scenarios/*.toml
    """
    from jevons.scenario import load

    problems: list[Problem] = []
    for source in scenarios:
        try:
            scenario = load(source, overrides)
        except ScenarioError as error:
            problems += error.problems
        else:
            click.echo(f"{source}: ok")
            warn_of_sources(source, scenario.unsourced())
    if problems:
        raise ScenarioError(list(dict.fromkeys(problems)))


def warn_of_sources(source: str, unsourced: Sequence[str]) -> None:
    """Name the numbers that do not say where they are from."""
    if unsourced:
        count = "1 number has" if len(unsourced) == 1 else f"{len(unsourced)} numbers have"
        click.echo(f"{source}: warning: {count} no source: {', '.join(unsourced)}", err=True)


@main.command()
def schema() -> None:
    """Print the JSON Schema of a scenario, for editors.

    \b
    Example:
      jevons schema > scenario.schema.json
    """
    from jevons.scenario import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@main.command()
@click.argument("name")
def new(name: str) -> None:
    """Write a commented scenario to start from: NAME.toml, or - for stdout.

    \b
    Example:
      jevons new my_market && jevons simulate my_market.toml
    """
    from jevons.scenario import starter

    if name == "-":
        click.echo(starter("starter"), nl=False)
        return
    text, path = starter(name), Path(f"{name}.toml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path}: exists already, and is left as it is") from None
    click.echo(f"Wrote {path}.", err=True)


@main.command()
@click.argument("runs", nargs=-1, required=True, metavar="A B...")
@click.option("--inputs", is_flag=True, help="Only list the inputs that differ; nothing is run.")
@override_options
@run_options
def compare(
    runs: tuple[str, ...],
    inputs: bool,
    overrides: tuple[str, ...],
    seed: int | None,
    replications: int | None,
    resolution: int | None,
    engine: str,
    workers: int | None,
    form: Format,
    quiet: bool,
) -> None:
    """Compare scenarios or run directories: figures side by side, differences with intervals.

    With the same seed and the same number of replications they share their random numbers, and the intervals
    are those of paired differences.  Overrides apply to scenarios, not to directories.

    \b
    Examples:
      jevons compare scenarios/deepseek.toml my_market.toml
      jevons compare out/before out/after --inputs
    """
    if len(runs) < 2:
        raise UsageError("a comparison needs two scenarios or run directories, or more")
    from jevons.comparison import compare as compare_sides
    from jevons.report.comparing import comparison_csv, comparison_json, comparison_table, inputs_table
    from jevons.report.data import to_json

    changes = all_overrides(overrides, seed, replications, None, resolution)
    if inputs:
        click.echo(inputs_table(runs, [scenario_of(run, changes) for run in runs]), nl=False)
        return
    # All are read before the first is run: a mistake in the last should not cost the time of the others.
    sources = [source_of(run, changes) for run in runs]
    comparison = compare_sides(
        [side_of(run, source, engine, workers, quiet) for run, source in zip(runs, sources, strict=True)]
    )
    match form:
        case "table":
            click.echo(comparison_table(comparison), nl=False)
        case "json":
            click.echo(to_json(comparison_json(comparison)), nl=False)
        case "csv":
            click.echo(comparison_csv(comparison), nl=False)


@main.command()
@click.argument("scenarios", nargs=-1, required=True, metavar="SCENARIO...")
@click.option("-o", "--output", metavar="FILE", help="Write the table there too, as Markdown.")
@override_options
@run_options
def gallery(
    scenarios: tuple[str, ...],
    output: str | None,
    overrides: tuple[str, ...],
    seed: int | None,
    replications: int | None,
    resolution: int | None,
    engine: str,
    workers: int | None,
    form: Format,
    quiet: bool,
) -> None:
    """Simulate scenarios that each teach one thing, and check that their figures say what their texts say.

    Exit code 1 if one does not.  A scenario says in its table [lesson] which one it is compared with, and which
    figures are higher, lower or the same there.

    \b
    Example:
      jevons gallery scenarios/*.toml -o out/gallery.md
    """
    from jevons.gallery import gallery as gallery_of
    from jevons.report.data import to_json
    from jevons.report.files import write_files
    from jevons.report.gallery import gallery_data, gallery_markdown, gallery_table
    from jevons.scenario import load

    if form == "csv":
        raise UsageError("a gallery has no csv: use --format json")
    changes = all_overrides(overrides, seed, replications, None, resolution)
    loaded = dict(zip(map(Path, scenarios), loaded_scenarios(scenarios, changes), strict=True))
    markets = {path: scenario for path, scenario in loaded.items() if scenario.kind == "market"}
    found = gallery_of(
        markets, lambda path: load(path, changes), lambda one: market_result(one, engine, workers, quiet)
    )
    if output is not None:
        write_files(Path(output).parent, {Path(output).name: gallery_markdown(found).encode()})
    click.echo(gallery_table(found) if form == "table" else to_json(gallery_data(found)), nl=False)
    if found.contradicted:
        names = ", ".join(exhibit.result.scenario.name for exhibit in found.contradicted)
        raise JevonsError(f"the figures do not say what the text says: {names}")


def market_result(scenario: Scenario, engine: str, workers: int | None, quiet: bool) -> Result:
    """What a scenario of kind market comes to."""
    from jevons.answer import Result

    result = simulated(scenario, engine, workers, quiet)
    assert isinstance(result, Result), "only a day comes to anything else"
    return result


@main.command()
@click.argument("scenario", metavar="SCENARIO")
@click.option("-o", "--output", metavar="DIR", help="Write table, data and figure there.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value; repeatable.")
@click.option("--seed", type=int, help="Seed of all random numbers (run.seed).")
@click.option("--replications", type=int, help="Repetitions whose mean is told; else the scenario's, at most 8.")
@click.option("--draws", type=int, default=0, show_default=True, help="Draws of the uncertain inputs, for the width.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="Of what is printed.",
)
def waterfall(
    scenario: str,
    output: str | None,
    overrides: tuple[str, ...],
    seed: int | None,
    replications: int | None,
    draws: int,
    form: Format,
) -> None:
    """Tell the rebound of a scenario channel by channel, in a stated order and averaged over all orders.

    The shock is solved anew, in closed form, under every set of its channels.

    \b
    Examples:
      jevons waterfall scenarios/deepseek.toml -o out/deepseek
      jevons waterfall scenarios/deepseek.toml --draws 24
    """
    (loaded,) = loaded_scenarios([scenario], all_overrides(overrides, seed, None, None, None))
    (directory,) = directories_of(output, [loaded])
    from jevons.attribution import waterfall as solved
    from jevons.report import waterfall_text
    from jevons.report.data import to_json

    found = solved(loaded, draws=draws, replications=replications)
    table, data = waterfall_text.waterfall_table(found), to_json(waterfall_text.waterfall_json(found))
    files: dict[str, bytes] = {}
    if directory is not None:
        from jevons.report.files import write_files
        from jevons.report.waterfall_figure import waterfall_files

        files = {"waterfall.txt": table.encode(), "waterfall.json": data.encode(), **waterfall_files(found)}
        write_files(directory, files)
    match form:
        case "table":
            click.echo(table, nl=False)
            if directory is not None:
                click.echo(files_line(directory, list(files)))
        case "json":
            click.echo(data, nl=False)
        case "csv":
            click.echo(waterfall_text.waterfall_csv([found]), nl=False)


@main.command()
@click.argument("scenario", metavar="SCENARIO")
@click.option("--fall", type=float, default=0.17, show_default=True, help="Fall of the vendor's value, as a share.")
@click.option("--for", "key", metavar="KEY", help="Input to solve for; else the price elasticities.")
@click.option("--between", type=float, nargs=2, metavar="LOW HIGH", help="Range to search instead of the input's own.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value; repeatable.")
@click.option("--seed", type=int, help="Seed of all random numbers (run.seed).")
@click.option("--draws", type=int, help="Draws of the other inputs (run.draws).")
@click.option("--workers", type=int, help=f"Processes; else one a core, at most {MOST_WORKERS}.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True,
    help="Of what is printed.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def implied(
    scenario: str,
    fall: float,
    key: str | None,
    between: tuple[float, float] | None,
    overrides: tuple[str, ...],
    seed: int | None,
    draws: int | None,
    workers: int | None,
    form: Format,
    quiet: bool,
) -> None:
    """What a fall in the GPU vendor's value implies: which elasticity, or which demand, makes it.

    The value is that of the profit the scenario comes to, with the shock against without.  Each draw of the other
    inputs has its answer; where none in range makes such a fall, that is what is said.

    
    Examples:
      jevons implied scenarios/deepseek.toml --fall 0.17
      jevons implied scenarios/deepseek.toml --for shock.capability_share
      jevons implied my_market.toml --between -2.5 -0.2
    """
    from jevons.market_implied import implied as solve
    from jevons.report.data import to_json
    from jevons.report.implied_text import implied_csv, implied_json, implied_table

    changes = all_overrides(overrides, seed, None, None, None)
    changes += [] if draws is None else [f"run.draws={draws}"]
    (loaded,) = loaded_scenarios([scenario], changes)
    count = number_of_workers(workers)
    with progress(loaded.name, quiet) as tell:
        result = solve(loaded, fall, key=key, between=between, workers=count, progress=tell)
    match form:
        case "table":
            click.echo(implied_table(result), nl=False)
        case "json":
            click.echo(to_json(implied_json(result)), nl=False)
        case "csv":
            click.echo(implied_csv(result), nl=False)


def scenario_of(run: str, overrides: Sequence[str]) -> Scenario:
    """The scenario of a file or of a run directory."""
    if run != "-" and Path(run).is_dir():
        from jevons.report.files import read_scenario

        return read_scenario(run)
    return loaded_scenarios([run], overrides)[0]


def source_of(run: str, overrides: Sequence[str]) -> Side | Scenario:
    """A run directory as it was written, or a scenario that is yet to be run."""
    if run != "-" and Path(run).is_dir():
        from jevons.report.files import read_run

        return read_run(run)
    (scenario,) = loaded_scenarios([run], overrides)
    if scenario.kind == "day":
        raise UsageError(f"{run}: a served day has no months to compare")
    return scenario


def side_of(run: str, source: Side | Scenario, engine: str, workers: int | None, quiet: bool) -> Side:
    """One side of a comparison, simulated now if it has not been."""
    from jevons.answer import Result
    from jevons.comparison import Side, side

    if isinstance(source, Side):
        return source
    # Differences are those of replications: draws would be made for nothing.
    result = simulated(source.replace({"run.draws": 0}), engine, workers, quiet)
    assert isinstance(result, Result), "only a day comes to anything else"
    return replace(side(result, name=run), scenario=source)
