//! `/render`: targets as points in JSON or drawn as SVG.
//!
//! Beyond Graphite: `precision=ms` for slots narrower than a second, `step=` seconds for slots of a given
//! width, and with `format=svg` a `theme` of `light` or `dark`.

use std::sync::Mutex;
use std::time::Duration;

use dotter_chart::{Chart, Line, Theme};
use dotter_http::Response;
use dotter_query::{Budget, Error, Precision, Render, Steps, Target, Zone, render, series, write_json};

use crate::feed::View;
use crate::form::{Form, wrong};
use crate::raw::fetch_envelope;

/// Lines in one drawing; more could not be told apart.
const LINES_MAX: usize = 64;
/// Dots looked at for one answer.
const READ_DOTS_MAX: u64 = 20_000_000;

/// The answer to `/render`.
pub(crate) fn answer(view: &View, steps: &Mutex<Steps>, form: &Form) -> Result<Response, Error> {
    let format = form.get("format").unwrap_or("json");
    let name = if form.get("target").is_some() { "target" } else { "target[]" };
    let targets: Result<Vec<Target>, Error> =
        form.all(name).filter(|text| !text.trim().is_empty()).map(Target::new).collect();
    if form.get(name).is_none() {
        return Err(wrong("target", "", "a series or a pattern such as servers.*.cpu"));
    }
    match format {
        "json" => json(view, steps, form, targets?),
        "svg" => svg(view, form, &targets?),
        other => Err(wrong("format", other, "json or svg")),
    }
}

fn json(view: &View, steps: &Mutex<Steps>, form: &Form, targets: Vec<Target>) -> Result<Response, Error> {
    if form.get("jsonp").is_some_and(|name| !name.is_empty()) {
        return Err(wrong("jsonp", form.get("jsonp").unwrap_or_default(), "none: plain JSON is served"));
    }
    let clock = form.clock()?;
    let precision = match form.get("precision").unwrap_or("s") {
        "s" | "" => Precision::Seconds,
        "ms" => Precision::Millis,
        other => return Err(wrong("precision", other, "s or ms")),
    };
    let step = match form.get("step").filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => match text.parse::<f64>().map(Duration::try_from_secs_f64) {
            Ok(Ok(step)) if step >= Duration::from_millis(1) => Some(step),
            _ => return Err(wrong("step", text, "seconds, 0.001 at least")),
        },
    };
    let known_min = match form.get("xFilesFactor").filter(|text| !text.is_empty()) {
        None => 0.0,
        Some(text) => match text.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => share,
            _ => return Err(wrong("xFilesFactor", text, "a number from 0 to 1")),
        },
    };
    let request = Render {
        targets,
        window: form.window(&clock)?,
        now: clock.now,
        // As the reference: what is no whole number is as good as none.
        points_max: form.get("maxDataPoints").and_then(|text| text.parse().ok()),
        known_min,
        precision,
        step,
    };
    let mut budget = Budget { dots_max: READ_DOTS_MAX, ..Budget::start() };
    let drawn = render(&*view.source, &request, steps, &mut budget)?;
    let no_nulls = form.get("noNullPoints").is_some_and(|text| !text.is_empty() && text != "0");
    let mut body = Vec::new();
    write_json(&drawn, no_nulls, &mut body);
    Ok(Response::json(200, body))
}

fn svg(view: &View, form: &Form, targets: &[Target]) -> Result<Response, Error> {
    let clock = form.clock()?;
    let window = form.window(&clock)?;
    let width = form.number("width", dotter_chart::SIDE_MAX.into())?.unwrap_or(600) as u32;
    let height = form.number("height", dotter_chart::SIDE_MAX.into())?.unwrap_or(300) as u32;
    let theme = match form.get("theme").filter(|text| !text.is_empty()) {
        None => Theme::Light,
        Some(text) => Theme::parse(text).ok_or_else(|| wrong("theme", text, "light or dark"))?,
    };
    let mut budget = Budget { dots_max: READ_DOTS_MAX, ..Budget::start() };
    let mut names = Vec::new();
    for target in targets {
        names.extend(series(&*view.source, &target.pattern, &budget)?);
        budget.series(names.len())?;
    }
    names.truncate(LINES_MAX);
    let mut lines = Vec::with_capacity(names.len());
    for name in &names {
        let history = fetch_envelope(&*view.source, name.as_str(), window, width, &mut budget)?;
        let dots = history.dots.iter().map(|dot| (dot.time.as_secs_f64(), dot.value)).collect();
        let column = window.until.since(window.from).as_secs_f64() / f64::from(width.max(1));
        let gap = history.gap.map_or(f64::INFINITY, |gap| gap.as_secs_f64().max(column * 2.5));
        lines.push(Line { name: name.as_str(), dots, gap });
    }
    let offset = match clock.zone {
        Zone::Offset(seconds) => seconds,
        Zone::Unknown(_) => 0,
    };
    let chart = Chart {
        width,
        height,
        title: form.get("title").unwrap_or_default(),
        range: (window.from.as_secs_f64(), window.until.as_secs_f64()),
        offset,
        lines,
        theme,
    };
    Ok(Response::new(200, "image/svg+xml", chart.svg()))
}
