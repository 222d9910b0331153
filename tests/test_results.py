"""Intervals by hand, by table and by how often they hold; series row by row."""

import csv
import datetime as dt
import io
import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.randomness import Draws
from jevons.results import (
    COLUMNS,
    ONE_SAMPLE,
    UNCLEAR_DENOMINATOR,
    Estimate,
    Series,
    bootstrap_ratio_of_means,
    ratio_of_means,
    share,
    student_t,
)

NUMBERS = st.floats(-1e6, 1e6)
SAMPLES = st.lists(NUMBERS, min_size=2, max_size=30)


class TestStudent:
    @pytest.mark.parametrize(
        ("confidence", "degrees", "expected"),
        [
            (0.90, 1, 6.314),
            (0.95, 2, 4.303),
            (0.99, 3, 5.841),
            (0.95, 4, 2.776),
            (0.98, 7, 2.998),
            (0.90, 30, 1.697),
            (0.95, 120, 1.980),
        ],
    )
    def test_the_quantile_is_that_of_the_printed_table(self, confidence, degrees, expected):
        """Percentage points of Student's t as every textbook prints them, to three decimals."""
        assert round(student_t(confidence, degrees), 3) == expected

    @pytest.mark.parametrize("degrees", [*range(1, 13), 49, 50, 999, 12_346, 99_999])
    def test_the_quantile_is_that_of_scipy(self, degrees):
        from scipy.stats import t

        for confidence in (0.01, 0.5, 0.9, 0.95, 0.9999):
            assert student_t(confidence, degrees) == pytest.approx(t.ppf((1 + confidence) / 2, degrees), rel=1e-9)

    def test_no_degree_of_freedom_is_refused(self):
        with pytest.raises(ValueError, match="degrees_of_freedom must be at least 1, not 0"):
            student_t(0.9, 0)


class TestReplications:
    def test_the_interval_is_students(self):
        """2, 3, 7: mean 4, squares 4 + 1 + 9 = 14, variance of the mean 14/6; t(2, 95 %) = 4.302653."""
        estimate = Estimate.from_replications([2.0, 3.0, 7.0], confidence=0.95)

        assert estimate.mean == 4
        assert estimate.half_width == pytest.approx(4.302653 * math.sqrt(14 / 6), rel=1e-6)
        assert (estimate.low + estimate.high) / 2 == pytest.approx(4)
        assert (estimate.confidence, estimate.samples, estimate.kind) == (0.95, 3, "replications")

    def test_one_replication_has_a_mean_but_no_width(self):
        estimate = Estimate.from_replications([1.32], confidence=0.9)

        assert (estimate.mean, estimate.low, estimate.high, estimate.half_width) == (1.32, None, None, None)
        assert estimate.reason == ONE_SAMPLE
        assert str(estimate) == "1.32, width unknown"

    def test_replications_that_do_not_differ_leave_no_doubt(self):
        estimate = Estimate.from_replications([0.75] * 4, confidence=0.9)

        assert (estimate.low, estimate.mean, estimate.high) == (0.75, 0.75, 0.75)

    @given(SAMPLES, st.floats(0.1, 10), NUMBERS)
    def test_another_unit_changes_the_unit_and_nothing_else(self, values, scale, shift):
        estimate = Estimate.from_replications(values, 0.9)
        changed = Estimate.from_replications([scale * value + shift for value in values], 0.9)

        assert changed.mean == pytest.approx(scale * estimate.mean + shift, abs=1e-6)
        assert changed.half_width == pytest.approx(scale * estimate.half_width, rel=1e-6, abs=1e-6)

    def test_ninety_percent_intervals_hold_the_truth_nine_times_in_ten(self):
        """1000 samples of 5 normal numbers; 99.99 % band for the count 900: 3.89 sqrt(90) = 37."""
        samples = Draws(seed=3, replication=0).normal("coverage", 5000).reshape(1000, 5) + 20
        held = sum(Estimate.from_replications(sample, 0.9).covers(20) for sample in samples)

        assert abs(held - 900) <= 37


class TestDraws:
    def test_the_interval_holds_the_middle_of_the_draws(self):
        """Of 0, 1, ..., 100 the middle 80 % lie from 10 to 90, around the median 50."""
        estimate = Estimate.from_draws(np.arange(101.0)[::-1], confidence=0.8)

        assert (estimate.low, estimate.mean, estimate.high) == pytest.approx((10, 50, 90))
        assert (estimate.samples, estimate.kind) == (101, "draws")

    def test_the_figure_is_the_median_so_that_one_wild_draw_does_not_move_it(self):
        assert Estimate.from_draws([1.0, 2.0, 1e9], confidence=0.5).mean == 2

    def test_one_draw_has_no_width(self):
        estimate = Estimate.from_draws([7.0], confidence=0.9)

        assert (estimate.mean, estimate.low, estimate.reason) == (7, None, ONE_SAMPLE)

    @given(st.lists(NUMBERS, min_size=2, max_size=30), st.floats(0.05, 0.5), st.floats(0.5, 0.99))
    def test_an_interval_of_more_confidence_holds_that_of_less(self, values, less, more):
        narrow, wide = Estimate.from_draws(values, less), Estimate.from_draws(values, more)

        assert wide.low <= narrow.low <= narrow.mean <= narrow.high <= wide.high

    def test_a_monotone_function_maps_the_figure_and_its_ends_in_order(self):
        """-x of 1 [0.5, 3] is -1 [-3, -0.5]."""
        estimate = Estimate(mean=1.0, low=0.5, high=3.0, confidence=0.9, samples=4, kind="draws")
        mapped = estimate.mapped(lambda x: -x)

        assert (mapped.mean, mapped.low, mapped.high, mapped.samples) == (-1, -3, -0.5, 4)


class TestText:
    @pytest.mark.parametrize(
        ("mean", "low", "high", "text"),
        [
            (1.32, 1.1, 1.58, "1.32 [1.10, 1.58]"),
            (0.004561, 0.0041, 0.00502, "0.00456 [0.00410, 0.00502]"),
            (31_234.5, 29_000.2, 33_000.0, "31234 [29000, 33000]"),
            (12.34, -3.21, 28.0, "12.3 [-3.2, 28.0]"),
            (-0.0004, -2.0, 1.0, "0.00 [-2.00, 1.00]"),
            (0.0, 0.0, 0.0, "0.00 [0.00, 0.00]"),
            (1.5e9, 1.25e9, 1.75e9, "1.50e+09 [1.25e+09, 1.75e+09]"),
        ],
    )
    def test_an_estimate_shows_three_digits_of_its_largest_number(self, mean, low, high, text):
        assert str(Estimate(mean=mean, low=low, high=high, confidence=0.9, samples=6, kind="draws")) == text

    def test_percent_are_whole(self):
        known = Estimate(mean=1.184, low=0.913, high=1.527, confidence=0.9, samples=6, kind="draws")

        assert known.as_percent == "118 % [91, 153]"
        assert known.without_width("withdrawn").as_percent == "118 %, width unknown"


class TestCovers:
    def test_an_interval_covers_its_ends_and_what_lies_between(self):
        estimate = Estimate(mean=2.5, low=2.0, high=4.0, confidence=0.9, samples=5, kind="draws")

        assert [estimate.covers(value) for value in (1.99, 2.0, 3.0, 4.0, 4.01)] == [False, True, True, True, False]

    def test_an_unknown_width_rules_nothing_out(self):
        assert Estimate.from_replications([5.0], 0.9).covers(-1e9)


class TestRatio:
    def test_fiellers_ends_are_the_roots_of_his_equation(self):
        """x = 1, 2, 6 and y = 2, 5, 5: means 3 and 4; sums of squares about them 14, 6 and products 6,
        so s_xx = 14/6, s_yy = 1, s_xy = 1.  At t(2, 50 %) = 0.816497, t^2 = 2/3, the ends solve
        (3 - 4 q)^2 = 2/3 (7/3 - 2 q + q^2): (46/3) q^2 - (68/3) q + 67/9 = 0, which is 0.49359, 0.98467.
        """
        estimate = ratio_of_means([1.0, 2.0, 6.0], [2.0, 5.0, 5.0], confidence=0.5)
        root = math.sqrt((68 / 3) ** 2 - 4 * (46 / 3) * (67 / 9))

        assert estimate.mean == 0.75
        assert estimate.low == pytest.approx((68 / 3 - root) / (92 / 3), rel=1e-9)
        assert estimate.high == pytest.approx((68 / 3 + root) / (92 / 3), rel=1e-9)
        assert (estimate.samples, estimate.kind) == (3, "replications")

    def test_over_a_constant_fieller_is_student(self):
        numerators = [3.0, 4.0, 8.0, 2.0]
        ratio, student = ratio_of_means(numerators, [5.0] * 4, 0.9), Estimate.from_replications(numerators, 0.9)

        assert (ratio.low, ratio.mean, ratio.high) == pytest.approx(
            (student.low / 5, student.mean / 5, student.high / 5)
        )

    def test_pairs_in_one_proportion_have_that_ratio_without_doubt(self):
        estimate = ratio_of_means([9.0, 12.0, 10.5], [6.0, 8.0, 7.0], 0.9)

        assert (estimate.low, estimate.mean, estimate.high) == (1.5, 1.5, 1.5)

    def test_a_denominator_that_may_be_zero_leaves_the_ratio_unbounded(self):
        """Denominators 1, -1, 3 have mean 1 and standard error 1.15: t of 0.87 does not reject zero."""
        estimate = ratio_of_means([2.0, 3.0, 4.0], [1.0, -1.0, 3.0], 0.9)

        assert (estimate.mean, estimate.low, estimate.high, estimate.reason) == (3, None, None, UNCLEAR_DENOMINATOR)

    def test_the_interval_is_bounded_exactly_when_students_of_the_denominator_leaves_out_zero(self):
        denominators = np.array([1.0, 2.0, 4.0])
        for shift in np.linspace(-8, 2, 41):
            zero_possible = Estimate.from_replications(denominators + shift, 0.9).covers(0.0)
            if abs((denominators + shift).sum()) > 1e-9:
                assert (ratio_of_means([3.0, 5.0, 6.0], denominators + shift, 0.9).low is None) == zero_possible

    def test_the_ratio_of_one_replication_has_no_width(self):
        estimate = ratio_of_means([3.0], [4.0], 0.9)

        assert (estimate.mean, estimate.low, estimate.reason) == (0.75, None, ONE_SAMPLE)

    @given(
        st.lists(st.tuples(st.floats(1, 9), st.floats(100, 110)), min_size=3, max_size=20),
        st.floats(0.01, 100),
        st.floats(0.01, 100),
    )
    def test_units_of_both_sides_scale_the_ratio(self, pairs, scale_x, scale_y):
        x, y = np.array(pairs).T
        one, other = ratio_of_means(x, y, 0.9), ratio_of_means(scale_x * x, scale_y * y, 0.9)
        scale = scale_x / scale_y

        assert (other.low, other.mean, other.high) == pytest.approx(
            (scale * one.low, scale * one.mean, scale * one.high), rel=1e-6, abs=1e-8 * scale
        )
        assert one.low <= one.mean <= one.high

    @pytest.mark.slow
    @pytest.mark.parametrize("correlation", [-0.6, 0.8])
    def test_fiellers_ninety_percent_hold_the_ratio_nine_times_in_ten(self, correlation):
        """2000 trials of 6 pairs, means 3 and 2, standard deviations 1.5 and 0.7: 1800 +- 3.89 sqrt(180)."""
        first, second = Draws(seed=11, replication=0).normal("fieller", 24_000).reshape(2, 2000, 6)
        x = 3 + 1.5 * (correlation * first + math.sqrt(1 - correlation**2) * second)
        y = 2 + 0.7 * first
        held = sum(ratio_of_means(*pair, 0.9).covers(1.5) for pair in zip(x, y, strict=True))

        assert abs(held - 1800) <= 52

    @pytest.mark.parametrize(
        ("numerators", "denominators", "message"),
        [
            ([1.0, 2.0], [1.0], "denominators must be as many as numerators, 2, not 1"),
            ([1.0, 2.0], [1.0, -1.0], "the mean of denominators must be different from 0"),
            ([1.0, math.nan], [1.0, 2.0], "numerators must be finite, not nan"),
            ([1.0], [math.inf], "denominators must be finite, not inf"),
            ([], [], "numerators must be a row of at least one number"),
            ([[1.0]], [[1.0]], "numerators must be a row of at least one number, not of shape"),
        ],
    )
    def test_what_is_not_a_pair_of_samples_is_refused(self, numerators, denominators, message):
        with pytest.raises(ValueError, match=message):
            ratio_of_means(numerators, denominators, 0.9)

    @pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, 90.0, math.nan])
    def test_a_confidence_that_is_no_share_is_refused_everywhere(self, confidence):
        for estimate in (
            lambda: Estimate.from_replications([1.0], confidence),
            lambda: Estimate.from_draws([1.0], confidence),
            lambda: ratio_of_means([1.0], [2.0], confidence),
            lambda: bootstrap_ratio_of_means([1.0], [2.0], confidence, draws=Draws(seed=0, replication=0)),
            lambda: share(1, 2, confidence),
            lambda: student_t(confidence, 5),
        ):
            with pytest.raises(ValueError, match="confidence must be above 0 and below 1"):
                estimate()


class TestBootstrap:
    def test_it_agrees_with_fieller_where_both_hold(self):
        """60 pairs with a denominator 30 standard errors from zero: the ends agree within a tenth of the width."""
        draws = Draws(seed=5, replication=0)
        x, y = 6 + draws.normal("x", 60), 4 + draws.normal("y", 60)
        fieller = ratio_of_means(x, y, 0.9)
        bootstrap = bootstrap_ratio_of_means(x, y, 0.9, draws=draws)

        assert bootstrap.mean == fieller.mean
        assert bootstrap.low == pytest.approx(fieller.low, abs=0.2 * fieller.half_width)
        assert bootstrap.high == pytest.approx(fieller.high, abs=0.2 * fieller.half_width)

    def test_pairs_stay_together(self):
        """In one proportion every resample has the same ratio; torn apart they would not."""
        estimate = bootstrap_ratio_of_means([2.0, 4.0, 10.0], [1.0, 2.0, 5.0], 0.9, draws=Draws(seed=1, replication=0))

        assert (estimate.low, estimate.high) == (2, 2)

    def test_same_draws_same_interval_and_other_draws_another(self):
        def ends(seed):
            estimate = bootstrap_ratio_of_means(
                [1.0, 2.5, 3.7, 8.0], [2.0, 3.0, 5.0, 9.0], 0.9, draws=Draws(seed=seed, replication=0)
            )
            return estimate.low, estimate.high

        assert ends(1) == ends(1) != ends(2)

    def test_a_resample_of_denominator_zero_withdraws_the_width(self):
        """A quarter of all resamples of two pairs take the zero twice."""
        estimate = bootstrap_ratio_of_means([1.0, 2.0], [0.0, 3.0], 0.9, draws=Draws(seed=1, replication=0))

        assert (estimate.mean, estimate.low, estimate.reason) == (1, None, UNCLEAR_DENOMINATOR)


class TestShare:
    def test_wilsons_interval_of_half_the_draws(self):
        """10 of 20 at 95 %: centre 1/2, half width z sqrt(1/80 + z^2/1600)/(1 + z^2/20) = 0.20073."""
        estimate = share(10, 20, 0.95)

        assert estimate.mean == 0.5
        assert (estimate.low, estimate.high) == pytest.approx((0.29927, 0.70073), abs=5e-5)
        assert (estimate.samples, estimate.kind) == (20, "draws")

    def test_it_is_that_of_scipy(self):
        from scipy.stats import binomtest

        expected = binomtest(7, 40).proportion_ci(0.9, method="wilson")
        estimate = share(7, 40, 0.9)

        assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), rel=1e-9)

    def test_never_and_always_still_leave_doubt(self):
        """0 of n reaches up to z^2/(n + z^2), n of n down to n/(n + z^2): z^2 = 2.7055 at 90 %."""
        never, always = share(0, 9, 0.9), share(9, 9, 0.9)

        assert (never.low, never.high) == pytest.approx((0, 2.7055 / 11.7055), rel=1e-4)
        assert (always.low, always.high) == pytest.approx((9 / 11.7055, 1), rel=1e-4)

    @pytest.mark.parametrize(("hits", "n"), [(-1, 5), (6, 5), (0, 0)])
    def test_hits_that_cannot_be_are_refused(self, hits, n):
        with pytest.raises(ValueError, match="hits must be at least 0 and at most n"):
            share(hits, n, 0.9)


@pytest.fixture
def series():
    return Series.of(
        [
            ("shock", 3, "2025-01-01", "", "reasoning", "price", 26.25, "USD/Mtok"),
            ("shock", 3, "2025-02-01", "", "reasoning", "price", 0.96, "USD/Mtok"),
            ("baseline", 4, "2025-02-01", "china", "", "nodes", 227.0, "1"),
            ("shock", 5, "2025-02-01", "", "", "ttft", math.nan, "s"),
        ]
    )


class TestSeries:
    def test_rows_come_back_as_they_went_in(self, series):
        rows = list(series.rows())

        assert len(series) == 4
        assert rows[:3] == [
            ("shock", 3, "2025-01-01", "", "reasoning", "price", 26.25, "USD/Mtok"),
            ("shock", 3, "2025-02-01", "", "reasoning", "price", 0.96, "USD/Mtok"),
            ("baseline", 4, "2025-02-01", "china", "", "nodes", 227.0, "1"),
        ]
        assert {type(cell) for row in rows for cell in row} == {str, int, float}

    def test_a_selection_holds_every_condition(self, series):
        assert series.select(arm="shock", metric="price").value.tolist() == [26.25, 0.96]
        assert series.select(arm="shock", month="2025-02-01").replication.tolist() == [3, 5]
        assert series.select(replication=4).metric.tolist() == ["nodes"]
        assert series.select(region="china", unit="1", segment="").value.tolist() == [227]

    def test_rows_that_are_alike_in_all_replications_are_named_once(self):
        labels = [("shock", "2025-01-01", "", "", "price", "1"), ("shock", "2025-02-01", "", "", "usage", "2")]
        series = Series.of_replications(labels, np.array([[3.0, 5.0], [7.0, 11.0]]))

        assert list(series.rows()) == [
            ("shock", 0, "2025-01-01", "", "", "price", 3.0, "1"),
            ("shock", 0, "2025-02-01", "", "", "usage", 5.0, "2"),
            ("shock", 1, "2025-01-01", "", "", "price", 7.0, "1"),
            ("shock", 1, "2025-02-01", "", "", "usage", 11.0, "2"),
        ]

    def test_what_does_not_occur_selects_nothing(self, series):
        assert len(series.select(metric="prices")) == 0

    def test_a_column_that_does_not_exist_is_refused(self, series):
        with pytest.raises(ValueError, match=r"column must be one of arm, replication, .*, not 'metrics'"):
            series.select(metrics="price")

    def test_the_file_has_full_digits_and_nothing_for_nan(self, series):
        stream = io.StringIO()
        series.to_csv(stream)

        assert stream.getvalue() == (
            "arm,replication,month,region,segment,metric,value,unit\n"
            "shock,3,2025-01-01,,reasoning,price,26.25,USD/Mtok\n"
            "shock,3,2025-02-01,,reasoning,price,0.96,USD/Mtok\n"
            "baseline,4,2025-02-01,china,,nodes,227.0,1\n"
            "shock,5,2025-02-01,,,ttft,,s\n"
        )

    @given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
    def test_numbers_survive_the_file(self, values):
        rows = [("shock", 1, "2025-01-01", "", "", "x, quoted", value, "1") for value in values]
        stream = io.StringIO()
        Series.of(rows).to_csv(stream)
        lines = stream.getvalue().splitlines()[1:]

        assert [float(line.split(",")[-2]) for line in lines] == values

    @given(
        st.lists(
            st.tuples(st.text(st.sampled_from("a,\"\n\r '"), max_size=3), st.sampled_from([0.0, -0.0, 1e-7, 1e22, 0.1]))
        )
    )
    def test_the_file_is_what_a_csv_writer_writes(self, rows):
        given_rows = [("shock", 1, "2025-01-01", "", text, text, value, "1") for text, value in rows]
        stream, expected = io.StringIO(), io.StringIO()
        Series.of(given_rows).to_csv(stream)
        csv.writer(expected, lineterminator="\n").writerows([COLUMNS, *given_rows])

        assert stream.getvalue() == expected.getvalue()

    def test_the_frame_has_the_columns_with_months_as_dates(self, series):
        frame = series.to_pandas()

        assert tuple(frame.columns) == COLUMNS
        assert frame["month"].dt.date.tolist()[:2] == [dt.date(2025, 1, 1), dt.date(2025, 2, 1)]
        assert frame["value"].tolist()[:3] == [26.25, 0.96, 227]
        assert frame["segment"].tolist() == ["reasoning", "reasoning", "", ""]

    def test_an_empty_series_is_a_head_without_rows(self):
        stream = io.StringIO()
        empty = Series.of([])
        empty.to_csv(stream)

        assert stream.getvalue() == ",".join(COLUMNS) + "\n"
        assert list(empty.rows()) == []
        assert empty.to_pandas().empty

    def test_a_series_of_many_rows_is_quick(self):
        """200,000 rows built and a hundred selections, in a time that quadratic work could not keep."""
        months = [f"{2000 + year}-{month:02}-01" for year in range(10) for month in range(1, 13)]
        rows = [
            ("shock", replication, month, "", "", "price", value, "1")
            for replication in range(1667)
            for value, month in enumerate(months)
        ]
        series = Series.of(rows)

        assert len(series) == 200_040
        for month in months:
            assert len(series.select(month=month, metric="price")) == 1667


def test_estimates_need_no_heavy_import():
    """scipy and pandas cost more to import than a day to serve."""
    import subprocess

    code = "import sys, jevons.results, jevons.rebound as r; r.arm_rebound(dict(baseline=[3., 4.], frozen=[1., 2.], \
shock=[2., 2.]), before=[1., 1.], gain=2., confidence=.9); print({'scipy', 'pandas', 'simpy'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout == "set()\n"
