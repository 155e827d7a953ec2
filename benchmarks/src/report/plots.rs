//! The report as pictures.

use std::io;
use std::path::Path;

use plotters::prelude::*;

use super::Report;
use crate::contest::{Cell, size_name};
use crate::growth::Axis;

/// A picture that was drawn.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) file: String,
    pub(crate) title: String,
    /// The service whose comparisons it shows; `None`: it shows growth.
    pub(crate) compares: Option<&'static str>,
}

const COLORS: [RGBColor; 7] = [
    RGBColor(31, 119, 180),
    RGBColor(255, 127, 14),
    RGBColor(44, 160, 44),
    RGBColor(214, 39, 40),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
    RGBColor(23, 190, 207),
];

/// Draws what there is into `folder`.
pub(super) fn draw(report: &Report, folder: &Path) -> io::Result<Vec<Plot>> {
    let mut plots = Vec::new();
    let mut done = |drawn: Result<(), Box<dyn std::error::Error>>, plot: Plot| {
        drawn.map_err(|error| io::Error::other(error.to_string()))?;
        plots.push(plot);
        io::Result::Ok(())
    };
    for service in crate::services::Service::NAMES {
        let cells: Vec<&Cell> = report
            .comparisons
            .iter()
            .filter(|cell| cell.service == service && cell.sides.len() > 1)
            .collect();
        if cells.is_empty() {
            continue;
        }
        let plot = Plot {
            file: format!("ratios-{service}.svg"),
            title: format!("{service}: how many times as fast as the other"),
            compares: Some(service),
        };
        done(ratios(&folder.join(&plot.file), &plot.title, &cells), plot)?;
    }
    for operation in ["get", "compare-and-set"] {
        let of = report
            .growth
            .tasks
            .iter()
            .filter(|cell| cell.operation == operation);
        let lines = by_service(of, |cell| {
            let ours = cell.sides.iter().find(|side| side.name == "statestore")?;
            Some((cell.tasks as f64, 1e6 / ours.micros.median))
        });
        if !lines.is_empty() {
            let plot = Plot {
                file: format!("tasks-{operation}.svg"),
                title: format!("{operation} of 1 KB: operations per second by tasks"),
                compares: None,
            };
            done(curves(&folder.join(&plot.file), &plot.title, &lines), plot)?;
        }
        let points = report
            .growth
            .entries
            .iter()
            .filter(|point| point.axis == Axis::Keys && point.operation == operation);
        let mut lines: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
        for point in points {
            push(
                &mut lines,
                point.service,
                (point.entries as f64, point.micros.median),
            );
        }
        if !lines.is_empty() {
            let plot = Plot {
                file: format!("keys-{operation}.svg"),
                title: format!("{operation}: microseconds by keys in the partition"),
                compares: None,
            };
            done(curves(&folder.join(&plot.file), &plot.title, &lines), plot)?;
        }
    }
    Ok(plots)
}

fn push(lines: &mut Vec<(String, Vec<(f64, f64)>)>, name: &str, point: (f64, f64)) {
    match lines.iter_mut().find(|(other, _)| other == name) {
        Some((_, points)) => points.push(point),
        None => lines.push((name.to_owned(), vec![point])),
    }
}

fn by_service<'a>(
    cells: impl Iterator<Item = &'a Cell>,
    point: impl Fn(&Cell) -> Option<(f64, f64)>,
) -> Vec<(String, Vec<(f64, f64)>)> {
    let mut lines = Vec::new();
    for cell in cells {
        if let Some(point) = point(cell) {
            push(&mut lines, cell.service, point);
        }
    }
    lines
}

/// A line of quartiles with its median for each other side of each cell, from 0.1 to 100 times.
fn ratios(file: &Path, title: &str, cells: &[&Cell]) -> Result<(), Box<dyn std::error::Error>> {
    const RANGE: (f64, f64) = (0.1, 100.0);
    let height = 90 + 16 * u32::try_from(cells.len())?;
    let area = SVGBackend::new(file, (900, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let rows = cells.len() as f64;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(230)
        .build_cartesian_2d((RANGE.0..RANGE.1).log_scale(), 0.0..rows)?;
    let label = |at: &f64| {
        let place = rows - at;
        let cell = cells
            .get(place as usize)
            .filter(|_| (place.fract() - 0.5).abs() < 0.01);
        cell.map_or_else(String::new, |cell| {
            format!("{} {} × {}", cell.operation, size_name(cell.size), cell.tasks)
        })
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_label_formatter(&|x| format!("{x}×"))
        .draw()?;
    // Labels of our own: the library places its own at round numbers.
    let style = ("sans-serif", 11).into_font();
    for (place, _) in cells.iter().enumerate() {
        let at = rows - place as f64 - 0.5;
        let (x, y) = chart.backend_coord(&(RANGE.0, at));
        area.draw(&Text::new(label(&at), (x - 225, y - 6), style.clone()))?;
    }
    chart.draw_series(std::iter::once(PathElement::new(
        vec![(1.0, 0.0), (1.0, rows)],
        BLACK.stroke_width(1),
    )))?;
    let mut names: Vec<&str> = Vec::new();
    for side in cells.iter().flat_map(|cell| cell.sides.iter().skip(1)) {
        if !names.contains(&side.name.as_str()) {
            names.push(&side.name);
        }
    }
    let within = |x: f64| x.clamp(RANGE.0, RANGE.1);
    for (number, name) in names.iter().enumerate() {
        let color = COLORS[number % COLORS.len()];
        let mut elements = Vec::new();
        let mut dots = Vec::new();
        for (place, cell) in cells.iter().enumerate() {
            if let Some(side) = cell.sides.iter().skip(1).find(|side| side.name == *name) {
                let y = rows - place as f64 - 0.5;
                let line = vec![(within(side.ratio.lower), y), (within(side.ratio.upper), y)];
                elements.push(PathElement::new(line, color.stroke_width(2)));
                dots.push(Circle::new((within(side.ratio.median), y), 3, color.filled()));
            }
        }
        chart.draw_series(elements)?;
        chart
            .draw_series(dots)?
            .label(*name)
            .legend(move |(x, y)| Circle::new((x + 10, y), 3, color.filled()));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK)
        .position(SeriesLabelPosition::LowerRight)
        .draw()?;
    area.present()?;
    Ok(())
}

/// A line for each name, on logarithmic scales.
fn curves(
    file: &Path,
    title: &str,
    lines: &[(String, Vec<(f64, f64)>)],
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(file, (720, 400)).into_drawing_area();
    area.fill(&WHITE)?;
    let all = || lines.iter().flat_map(|(_, points)| points);
    let range = |values: Vec<f64>| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        low / 1.5..high * 1.5
    };
    let (x, y) = (
        range(all().map(|point| point.0).collect()),
        range(all().map(|point| point.1).collect()),
    );
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d(x.log_scale(), y.log_scale())?;
    let plain = |number: &f64| format!("{number}");
    chart
        .configure_mesh()
        .x_label_formatter(&plain)
        .y_label_formatter(&plain)
        .draw()?;
    for (number, (name, points)) in lines.iter().enumerate() {
        let color = COLORS[number % COLORS.len()];
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)).point_size(3))?
            .label(name.as_str())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 20, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}
