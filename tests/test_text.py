"""Numbers, names and errors as text."""

import math

import pytest

from benchmark import text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.12345, "0.123"),
        (-2.5, "−2.5"),
        (999.9, "1,000"),
        (999.4, "999"),
        (1000, "1,000"),
        (-12345.6, "−12,346"),
        (-7.57e-6, "−7.57e−06"),
        (2.5e12, "2.5e+12"),
        (math.nan, "–"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
    ],
)
def test_a_number_has_three_digits(value: float, shown: str) -> None:
    assert text.number(value) == shown


def test_an_interval_is_shown_where_it_is_known() -> None:
    row = {"median": 1.2, "ci_low": 1.0, "ci_high": 1.5}
    assert text.interval(row) == "1.20 [1.00, 1.50]"
    unknown = {"ci_low": math.nan, "ci_high": math.nan}
    assert text.interval(row | unknown) == "1.20"
    assert text.interval({"median": 12345.6} | unknown) == "12,346"
    assert text.interval({"median": math.nan} | unknown) == "–"
    assert text.interval({"median": math.inf} | unknown) == "∞"


@pytest.mark.parametrize(
    ("ends", "shown"),
    [
        ((0.957, 0.936, 1.11), "0.96 [0.94, 1.11]"),
        ((16.72, 15.24, 18.71), "16.7 [15.2, 18.7]"),
        ((-0.192, -0.233, -0.0004), "−0.19 [−0.23, 0.00]"),
        ((31234.0, 29050.0, 42900.0), "31,000 [29,000, 43,000]"),
        # never more than three digits of the largest
        ((8.3512, 8.3502, 8.3611), "8.35 [8.35, 8.36]"),
        ((20.2, 19.1, math.inf), "20.2 [19.1, ∞]"),
        ((math.inf, math.inf, math.inf), "∞ [∞, ∞]"),
        # an interval without a width looks like its neighbours
        ((1.0, 1.0, 1.0), "1.00 [1.00, 1.00]"),
        ((1.0, 1.0, 1.0004), "1.00 [1.00, 1.00]"),
        ((1.2, 1.2, 1.2), "1.20 [1.20, 1.20]"),
        ((0.0, 0.0, 0.0), "0 [0, 0]"),
        # counts stay whole
        ((8.0, 8.0, 8.0), "8 [8, 8]"),
        ((7.0, 6.0, 8.0), "7 [6, 8]"),
        ((7.5, 7.0, 8.0), "7.5 [7.0, 8.0]"),
        # five decimals at most, and no exponent; the ends of what rounds to 0 still hold it
        ((-2.44e-5, -4.98e-5, 8.08e-5), "−0.00002 [−0.00005, 0.00008]"),
        ((-8.67e-7, -8.38e-6, 7.57e-6), "0.00000 [−0.00001, 0.00001]"),
        ((0.0, -6.78e-12, 1.66e-18), "0.00000 [−0.00001, 0.00001]"),
        ((1e-6, 5e-7, 2e-6), "0.00000 [0.00000, 0.00001]"),
        ((-1e-6, -2e-6, -5e-7), "0.00000 [−0.00001, 0.00000]"),
        ((2.5e12, 1e12, 3e12), "2.5e+12 [1e+12, 3e+12]"),
    ],
)
def test_a_value_and_the_ends_of_its_interval_have_the_same_decimals(ends, shown):
    row = dict(zip(("median", "ci_low", "ci_high"), ends, strict=True))
    assert text.interval(row) == shown


@pytest.mark.parametrize(
    ("value", "spread", "shown"),
    [
        (0.0362, 0.0104, "0.036 ± 0.010"),
        (0.00165, 0.00082, "0.00165 ± 0.00082"),
        (8.0, 0.0, "8 ± 0"),
        (1e-6, 2e-7, "0.00000 ± 0.00001"),
        (0.5, None, "0.5"),
        (math.nan, 0.1, "–"),
    ],
)
def test_a_value_and_its_spread_have_the_same_decimals(value, spread, shown):
    assert text.with_spread(value, spread) == shown


def test_wins_are_shown_with_their_interval() -> None:
    row = {"wins": 9, "ties": 0, "n": 12, "p_low": 0.428, "p_high": 0.945}
    assert text.wins(row) == "9 of 12 [0.43, 0.94]"
    assert text.wins(row | {"ties": 2, "p_low": math.nan}) == "9 and 2 tied of 12"


def test_what_was_not_reached_is_beyond_what_was_spent() -> None:
    row = {"median": 400.0, "ci_low": 200.0, "ci_high": math.inf, "spent": 600.0}
    assert text.cost(row) == "400 [200, > 600]"
    assert text.cost(row | {"median": math.inf}) == "> 600 [200, > 600]"
    assert text.cost(row | {"median": math.inf, "ci_low": math.inf}) == "> 600"
    assert (
        text.cost(row | {"median": math.inf, "spent": math.nan}) == "not reached [200, not reached]"
    )
    assert text.cost(row | {"ci_low": math.nan, "ci_high": math.nan}) == "400"
    assert text.cost(row | {"median": 5.53, "ci_low": 5.53, "ci_high": 8.3}) == "5.5 [5.5, 8.3]"
    assert text.cost(row | {"median": 1533924, "ci_high": 2e6}) == "1,533,924 [200, 2,000,000]"


def test_values_of_stored_files_are_text() -> None:
    assert text.text({"lr": 0.001, "betas": None}) == "lr 0.001, betas –"
    assert text.text(math.nan) == "–"
    assert text.text(12345) == "12345"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3569, "59 min"),
        (3599, "1 h 0 min"),
        (86399, "24 h 0 min"),
        (48 * 3600 - 31, "47 h 59 min"),
        (48 * 3600, "2 d 0 h"),
        (90 * 3600, "3 d 18 h"),
        (None, "unknown time"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float | None, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(12, "12 s"), (119.4, "119 s"), (204, "3.4 min"), (7199, "120 min"), (7560, "2.1 h")],
)
def test_a_duration_with_digits_has_one_unit(seconds: float, shown: str) -> None:
    assert text.duration(seconds, digits=3) == shown


def test_a_duration_of_few_digits_has_no_exponent():
    assert text.duration(6402, digits=2) == "110 min"


def test_names_are_listed_and_counted() -> None:
    assert [text.listed(list(names)) for names in ("", "a", "ab", "abc")] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert (text.plural(1, "run"), text.plural(2000, "run")) == ("1 run", "2,000 runs")
    assert text.place_name("dcgan", "digits") == "dcgan on digits"


def test_a_span_is_of_finite_values() -> None:
    assert text.span([3, 3]) == "3"
    assert text.span([5, math.inf, 3, math.nan]) == "3 to 5"
    assert text.span([math.nan]) == "–"


def test_an_error_is_one_line() -> None:
    assert text.one_line(ValueError("no such\n  file\t")) == "no such file"


def test_markdown_shows_markup_as_text() -> None:
    assert text.escaped("<b>|*`\\\n[l](x)") == "&lt;b&gt;\\|\\*\\`\\\\ [l]\\(x)"
    assert text.escaped("wgan_gp _a_ $x$ ~~y~~") == "wgan_gp \\_a\\_ \\$x\\$ \\~\\~y\\~\\~"


def test_a_file_name_is_short_and_tells_names_apart() -> None:
    assert (
        text.file_name("samples", "gaussians8", "mlp[width=8]") == "samples_gaussians8_mlp_width=8_"
    )
    values = ("a.b", "a-b", "a_b", "a b", "A_b", "é", "É", "e\u0301", "../..", "d" * 240, "d" * 241)
    labels = [f"image_folder[collection={value}]" for value in values]
    names = [text.file_name("samples", label, "dcgan") for label in labels]
    assert len({name.casefold() for name in names}) == len(labels)
    assert max(len(name.encode()) for name in names) <= 120
    assert not [name for name in names if {*name} & {*"./ []"}]


def test_a_text_is_cut_between_letters() -> None:
    assert text.cut("aéb", 2) == "a"
    assert text.cut("aéb", 3) == "aé"
    assert len(text.cut("🦆" * 100, 120).encode()) == 120


def test_a_label_that_is_cut_stays_apart_from_others() -> None:
    assert text.shortened("x" * 100) == "x" * 100
    longer = [text.shortened("x" * 300 + end) for end in "ab"]
    assert [len(label) for label in longer] == [100, 100]
    assert longer[0] != longer[1]
