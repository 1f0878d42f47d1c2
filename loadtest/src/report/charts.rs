//! Draws plots as inline SVG. The page's style sheet replaces the colours of axes, grid and text, so that one plot
//! works on light and dark backgrounds.

use std::collections::BTreeMap;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
pub use plotters::style::RGBColor;

use crate::facts::UnitCounts;
use crate::measure::Percentiles;
use crate::usage::float;

/// The placeholder for the colour of axes and text, which the style sheet replaces.
pub(super) const INK: RGBColor = RGBColor(1, 2, 3);
/// The placeholder for the colour of grid lines, which the style sheet replaces.
pub(super) const GRID: RGBColor = RGBColor(4, 5, 6);
/// The colour of free units.
pub const FREE: RGBColor = RGBColor(0xa9, 0xb4, 0xc2);
/// The colour of held units.
pub const HELD: RGBColor = RGBColor(0x9a, 0x6b, 0xd6);
/// The colour of units in open orders.
pub const ORDERED: RGBColor = RGBColor(0xe6, 0x9a, 0x2e);
/// The colour of sold units, and of a plot's only series.
pub const SOLD: RGBColor = RGBColor(0x2f, 0x74, 0xd0);
/// The colour of the 99th percentile.
pub const P99: RGBColor = RGBColor(0xd6, 0x51, 0x5e);

const SIZE: (u32, u32) = (920, 270);
const SMALL: (u32, u32) = (450, 240);
const TIME: &str = "seconds since the opening";

macro_rules! mesh {
    ($chart:ident, $y:expr, $labels:expr, $format:expr) => {
        $chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.stroke_width(1))
            .axis_style(INK.stroke_width(1))
            .label_style(label())
            .axis_desc_style(label())
            .x_desc(TIME)
            .y_desc($y)
            .y_labels($labels)
            .x_label_formatter(&|x: &f64| format!("{x:.0}"))
            .y_label_formatter(&$format)
            .draw()?
    };
}

type Drawn = Result<(), Box<dyn std::error::Error>>;
/// A colour and the height of its layer.
type Layer = (RGBColor, fn(&UnitCounts) -> u64);
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// A chart with two linear axes.
type Linear<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

fn draw(size: (u32, u32), paint: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    let painted = {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        paint(&area).and_then(|()| area.present().map_err(Into::into))
    };
    match painted {
        Ok(()) => svg,
        Err(error) => format!("<p>This plot could not be drawn: {error}</p>"),
    }
}

/// A chart on the whole area, with space for the labels of both axes.
fn builder<'c, 'a>(area: &'c Area<'a>) -> ChartBuilder<'c, 'c, SVGBackend<'a>> {
    let mut builder = ChartBuilder::on(area);
    builder.margin(8).x_label_area_size(42).y_label_area_size(66);
    builder
}

/// Draws a plot whose vertical axis is linear, from 0 to `top`, with about `labels` numbers of `digits` decimals.
fn linear(
    y: &str,
    time: (f64, f64),
    top: f64,
    labels: usize,
    digits: usize,
    paint: impl FnOnce(&mut Linear<'_>) -> Drawn,
) -> String {
    draw(SIZE, |area| {
        let mut chart = builder(area).build_cartesian_2d(time.0..time.1, 0.0..top)?;
        mesh!(chart, y, labels, |y: &f64| format!("{y:.digits$}"));
        paint(&mut chart)
    })
}

fn label() -> TextStyle<'static> {
    ("sans-serif", 13).into_font().color(&INK)
}

/// Plots the number of shoppers who arrive in each second.
pub(super) fn arrivals(by_second: &BTreeMap<i32, u64>) -> String {
    let (from, to) = time_range(by_second.keys().map(|second| f64::from(*second)));
    let most = by_second.values().copied().max().unwrap_or(1);
    let (time, top) = ((from, to + 1.0), 1.08 * float(most));
    linear("shoppers per second", time, top, whole_labels(most), 0, |chart| {
        chart.draw_series(by_second.iter().map(|(second, count)| {
            let left = f64::from(*second);
            Rectangle::new([(left + 0.08, 0.0), (left + 0.92, float(*count))], SOLD.filled())
        }))?;
        Ok(())
    })
}

/// Plots the units by state over time, stacked: sold, ordered, held, free.
#[must_use]
pub fn units(samples: &[(f64, UnitCounts)]) -> String {
    let time = time_range(samples.iter().map(|(second, _)| *second));
    let most = samples.iter().map(|(_, u)| u.total()).max().unwrap_or(1);
    let top = 1.04 * float(most.max(1));
    // Each layer is painted over the larger layer that includes it.
    let layers: [Layer; 4] = [
        (FREE, |u| u.sold + u.ordered + u.held + u.free),
        (HELD, |u| u.sold + u.ordered + u.held),
        (ORDERED, |u| u.sold + u.ordered),
        (SOLD, |u| u.sold),
    ];
    linear("units", time, top, whole_labels(most), 0, |chart| {
        for (colour, height) in layers {
            let line = samples.iter().map(|(at, units)| (*at, float(height(units))));
            chart.draw_series(AreaSeries::new(line, 0.0, colour.filled()))?;
        }
        Ok(())
    })
}

/// Plots the median and the 99th percentile of one endpoint's latency by second, on a logarithmic scale.
pub(super) fn latency(seconds: &BTreeMap<i32, Percentiles>, range: (f64, f64)) -> String {
    let worst = seconds.values().map(|s| s.p99).fold(10.0, f64::max);
    let medians = seconds.values().map(|s| s.p50).filter(|v| *v > 0.0);
    let best = medians.fold(1.0, f64::min).max(0.05);
    draw(SMALL, |area| {
        let heights = (best..1.5 * worst).log_scale();
        let mut chart = builder(area).build_cartesian_2d(range.0..range.1, heights)?;
        mesh!(chart, "ms (log scale)", 5, |y: &f64| if *y >= 1.0 {
            format!("{y:.0}")
        } else {
            format!("{y:.1}")
        });
        let line = |of: fn(&Percentiles) -> f64| {
            let points = seconds.iter();
            points.map(move |(second, found)| (f64::from(*second) + 0.5, of(found).max(best)))
        };
        chart.draw_series(LineSeries::new(line(|s| s.p99), P99.stroke_width(2)))?;
        chart.draw_series(LineSeries::new(line(|s| s.p50), SOLD.stroke_width(2)))?;
        Ok(())
    })
}

/// Plots figures over time, each as a line in its colour; `y` is the label of the vertical axis.
#[must_use]
pub fn lines(y: &str, lines: &[(RGBColor, Vec<(f64, f64)>)]) -> String {
    let points = || lines.iter().flat_map(|(_, line)| line.iter());
    let time = time_range(points().map(|(second, _)| *second));
    let most = points().map(|(_, value)| *value).fold(0.0, f64::max);
    let (top, digits) = (1.08 * most.max(1.0), usize::from(most < 10.0));
    linear(y, time, top, 7, digits, |chart| {
        for (colour, line) in lines {
            chart.draw_series(LineSeries::new(line.iter().copied(), colour.stroke_width(2)))?;
        }
        Ok(())
    })
}

/// The largest number of labels on an axis of whole numbers up to `most` without a repeated label.
fn whole_labels(most: u64) -> usize {
    usize::try_from(most).unwrap_or(usize::MAX).clamp(1, 7) + 1
}

/// The range of the times, in s. The range is 1 s long if all times are equal or there are none.
pub(super) fn time_range(seconds: impl Iterator<Item = f64>) -> (f64, f64) {
    let seconds: Vec<f64> = seconds.collect();
    let from = seconds.iter().copied().reduce(f64::min).unwrap_or(0.0);
    let to = seconds.iter().copied().reduce(f64::max).unwrap_or(0.0);
    (from, if to > from { to } else { from + 1.0 })
}
