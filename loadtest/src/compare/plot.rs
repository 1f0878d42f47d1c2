//! Plots the latency of the first seconds with and without pre-scaling, as one SVG.

use plotters::prelude::*;

use crate::measure::{Endpoint, Measured, percentiles};

const SIZE: (u32, u32) = (920, 360);
/// The start of the time axis, in ms relative to the opening.
const FROM_MS: i32 = -2_000;
/// The end of the time axis, in ms relative to the opening.
const TO_MS: i32 = 15_000;
/// The time that one point of the plot covers, in ms.
const STEP_MS: i32 = 250;
const OFF: RGBColor = RGBColor(0xd6, 0x51, 0x5e);
const ON: RGBColor = RGBColor(0x2f, 0x74, 0xd0);

/// The points of one run: the 99th percentile of the latency of all API requests, for each quarter of a second of
/// their intended start.
fn line(measured: &Measured) -> Vec<(f64, f64)> {
    let bins = (FROM_MS..TO_MS).step_by(usize::try_from(STEP_MS).unwrap_or(1));
    let of = |from: i32| {
        let samples = measured.samples.iter();
        let within = samples
            .filter(|s| s.endpoint != Endpoint::Bank && (from..from + STEP_MS).contains(&s.intended_ms));
        let latencies: Vec<u32> = within.map(|s| s.latency_us).collect();
        let middle = f64::from(from + STEP_MS / 2) / 1_000.0;
        (!latencies.is_empty()).then(|| (middle, percentiles(&latencies).p99.max(0.1)))
    };
    bins.filter_map(of).collect()
}

/// Plots the p99 over time with and without pre-scaling, on a logarithmic scale.
///
/// # Errors
/// When the plot cannot be drawn.
pub(super) fn first_seconds(off: &Measured, on: &Measured) -> anyhow::Result<String> {
    let mut svg = String::new();
    draw(&mut svg, &line(off), &line(on)).map_err(|error| anyhow::anyhow!("the plot: {error}"))?;
    Ok(svg)
}

fn draw(svg: &mut String, off: &[(f64, f64)], on: &[(f64, f64)]) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let worst = off.iter().chain(on).map(|(_, ms)| *ms).fold(10.0, f64::max);
    let (from, to) = (f64::from(FROM_MS) / 1_000.0, f64::from(TO_MS) / 1_000.0);
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .caption(
            "99th percentile of all requests, from when they should have been sent",
            ("sans-serif", 16),
        )
        .x_label_area_size(42)
        .y_label_area_size(66)
        .build_cartesian_2d(from..to, (1.0..2.0 * worst).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("seconds since the opening")
        .y_desc("ms (log scale)")
        .x_label_formatter(&|x: &f64| format!("{x:.0}"))
        .y_label_formatter(&|y: &f64| format!("{y:.0}"))
        .draw()?;
    for (name, points, colour) in [("without pre-scaling", off, OFF), ("with pre-scaling", on, ON)] {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .border_style(BLACK)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::Recorder;

    #[test]
    fn both_runs_are_drawn() {
        let of = |ms: u64| {
            let recorder = Recorder::default();
            recorder.request(Endpoint::Reserve, 10, Duration::from_millis(ms), "201");
            recorder.request(Endpoint::Reserve, 600, Duration::from_millis(ms), "201");
            recorder.request(Endpoint::Bank, 700, Duration::from_millis(9_000), "200");
            recorder.finish()
        };
        let (off, on) = (of(400), of(20));
        let line = line(&off);
        assert_eq!(line.iter().map(|(x, _)| *x).collect::<Vec<_>>(), [0.125, 0.625]);
        assert!(line.iter().all(|(_, ms)| (399.0..401.0).contains(ms)), "{line:?}");
        let svg = first_seconds(&off, &on).unwrap();
        assert!(svg.contains("without pre-scaling") && svg.matches("<polyline").count() >= 2);
    }
}
