//! Steps of archives as the program answers them: one number each, made as the store's rules say.

mod support;

use std::time::Duration;

use dotter_dot::{SeriesName, Timestamp};
use support::{Displayer, live_through};

const HOUR: u64 = 3600;

/// The numbers of a series, without nulls.
fn values(displayer: &Displayer, name: &str, rest: &str) -> Vec<f64> {
    let answer = displayer.json(&format!("/render?target={name}&format=json&noNullPoints=1&{rest}"));
    let points = answer[0]["datapoints"].as_array().cloned().unwrap_or_default();
    points.iter().map(|point| point[0].as_f64().unwrap()).collect()
}

#[test]
fn one_number_of_a_step_is_made_as_the_rules_say() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("storage-schemas.conf", "[all]\npattern = .*\nretentions = 10s:1h,1m:30d\n");
    let aggregation = |count: &str| {
        format!(
            "[odd]\npattern = \\.count$\naggregationMethod = p95\n\
             [count]\npattern = \\.count$\nxFilesFactor = 0\naggregationMethod = {count}\n\
             [max]\npattern = \\.upper$\nxFilesFactor = 0.1\naggregationMethod = max\n\
             [last]\npattern = \\.total$\nxFilesFactor = 0\naggregationMethod = last\n\
             [default]\npattern = .*\nxFilesFactor = 0.5\naggregationMethod = average\n"
        )
    };
    write("storage-aggregation.conf", &aggregation("sum"));
    drop(dotter_store::Writer::open(dir.path()).unwrap());
    let skipped = dotter_store::take_rules(dir.path()).unwrap().skipped;
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    let now = Timestamp::now();
    let begin = now.nanos() / 1_000_000_000 / HOUR * HOUR - 8 * HOUR;
    let mut rows = Vec::new();
    let mut push = |name: &str, seconds: u64, value: f64| {
        rows.push((SeriesName::new(name).unwrap(), Timestamp::from_secs(begin + seconds).unwrap(), value));
    };
    for n in 0..3 * HOUR / 10 {
        push("web.hits.count", n * 10, 5.0);
        push("web.time.upper", n * 10, (n % 6) as f64);
        push("net.bytes.total", n * 10, n as f64);
        push("load.avg", n * 10, (n % 6) as f64);
        if n % 60 == 0 {
            push("app.sparse.count", n * 10, 3.0);
            push("app.sparse", n * 10, 3.0);
        }
    }
    dotter_store::add(dir.path(), rows).unwrap();
    dotter_store::compact_major(dir.path(), &|| false, &|_, _| ()).unwrap();
    // The clock has to run for a day after the rules have changed.
    let switched_on = now.saturating_sub(Duration::from_secs(26 * HOUR));
    live_through(dir.path(), switched_on, 0..53);
    let snapshot = dotter_store::Reader::open(dir.path()).unwrap().snapshot();
    assert_eq!(
        (snapshot.span("load.avg"), snapshot.series().count()),
        (None, 6),
        "all dots have become steps"
    );

    let displayer = Displayer::start(dir.path());
    displayer.wait_for("the store", |displayer| displayer.get("/-/ready").0 == 200);
    let window = format!("from={begin}&until={}", begin + 1800);
    let values = |name: &str, rest: &str| values(&displayer, name, &format!("{window}{rest}"));
    let all = |count: usize, value: f64| vec![value; count];
    // The window reaches further back than dots are kept, so the slots are those of the archive.
    for step in ["", "&step=60"] {
        let name = |name: &str| values(name, step);
        assert_eq!(name("web.hits.count"), all(30, 30.0), "{step}");
        assert_eq!(name("web.time.upper"), all(30, 5.0));
        assert_eq!(name("load.avg"), all(30, 2.5));
        let lasts = name("net.bytes.total");
        assert!(lasts.windows(2).all(|pair| pair[1] == pair[0] + 6.0), "{lasts:?}");
        assert_eq!(lasts[0] % 6.0, 5.0);
        assert!(name("app.sparse").is_empty(), "a sixth is known, half is wanted");
        assert_eq!(values("app.sparse.count", step).last(), Some(&3.0), "none is wanted");
    }
    assert_eq!(values("web.hits.count", "&step=300")[..5], [150.0; 5]);
    // Points of several minutes are the averages of these, as Graphite has it.
    let merged = |name: &str| values(name, "&maxDataPoints=5");
    let is_all = |values: Vec<f64>, value: f64| values.len() >= 4 && values.iter().all(|one| *one == value);
    assert!(is_all(merged("web.hits.count"), 30.0), "{:?}", merged("web.hits.count"));
    assert!(is_all(merged("web.time.upper"), 5.0), "{:?}", merged("web.time.upper"));
    assert!(is_all(merged("load.avg"), 2.5), "{:?}", merged("load.avg"));

    // What has been folded keeps the method it was folded with; coarser steps of it are made by the new one.
    write("storage-aggregation.conf", &aggregation("average"));
    assert!(dotter_store::take_rules(dir.path()).unwrap().changed);
    displayer.wait_for("the new rules", |_| is_all(values("web.hits.count", "&step=300"), 30.0));
    assert_eq!(values("web.hits.count", ""), all(30, 30.0));
}
