//! Counters, gauges and histograms inside the process, for a scraper to ask now and then.

use std::error::Error;

use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::PrometheusBuilder;
use prometheus::{GaugeVec, Histogram, HistogramOpts, Opts, Registry};

use crate::measure::{Row, black_box, repeat, timed};

const NO_TIME: &str = "no time, no history: the latest or a sum";
const BUCKETS: &str = "no time, no history: 11 buckets";

pub(crate) fn rows() -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = with_metrics()?;
    rows.extend(with_prometheus()?);
    Ok(rows)
}

fn with_metrics() -> Result<Vec<Row>, Box<dyn Error>> {
    let exporter = PrometheusBuilder::new().install_recorder()?;
    let by_name = Row::new("metrics counter!, by name", NO_TIME, || {
        timed(|| repeat(|n| counter!("compare_count").increment(black_box(n))))
    });
    let held = counter!("compare_count");
    let count = Row::new("metrics counter!, handle kept", NO_TIME, move || {
        timed(|| repeat(|n| held.increment(black_box(n))))
    });
    let held = gauge!("compare_gauge");
    let level = Row::new("metrics gauge!, handle kept", NO_TIME, move || {
        timed(|| repeat(|n| held.set(black_box(n as f64))))
    });
    let (held, upkeep) = (histogram!("compare_histogram"), exporter.clone());
    let kept =
        Row::new("metrics histogram!, handle kept", "no time; values kept until the upkeep", move || {
            let spent = timed(|| repeat(|n| held.record(black_box(n as f64))));
            upkeep.run_upkeep();
            spent
        });
    let held = histogram!("compare_histogram_upkept");
    let upkept =
        Row::new("metrics histogram!, with its upkeep", "no time, no history: a sketch", move || {
            timed(|| {
                repeat(|n| held.record(black_box(n as f64)));
                exporter.run_upkeep();
            })
        });
    Ok(vec![by_name, count, level, kept, upkept])
}

fn with_prometheus() -> Result<Vec<Row>, Box<dyn Error>> {
    let registry = Registry::new();
    let level = prometheus::Gauge::new("compare_gauge", "a number")?;
    let levels = GaugeVec::new(Opts::new("compare_gauges", "a number each"), &["series"])?;
    let spread = Histogram::with_opts(HistogramOpts::new("compare_histogram", "many numbers"))?;
    registry.register(Box::new(level.clone()))?;
    registry.register(Box::new(levels.clone()))?;
    registry.register(Box::new(spread.clone()))?;
    Ok(vec![
        Row::new("prometheus Gauge::set", NO_TIME, move || {
            timed(|| repeat(|n| level.set(black_box(n as f64))))
        }),
        Row::new("prometheus GaugeVec, by label", NO_TIME, move || {
            timed(|| repeat(|n| levels.with_label_values(&[black_box("value")]).set(black_box(n as f64))))
        }),
        Row::new("prometheus Histogram::observe", BUCKETS, move || {
            timed(|| repeat(|n| spread.observe(black_box((n % 1000) as f64 / 100.0))))
        }),
    ])
}
