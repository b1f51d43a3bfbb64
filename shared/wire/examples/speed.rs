//! How fast a full batch is encoded and decoded: `cargo run --release -p dotter-wire --example speed`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use dotter_dot::Rows;
use dotter_wire::{BATCH_DOTS_MAX, Batch, LaneBatch, Message, Run, SeriesEntry};

fn main() {
    let dots = BATCH_DOTS_MAX;
    for (what, series_count, step_ns) in
        [("1 series, 500 ns apart", 1, 500), ("300 series, 1 ms apart", 300, 1_000_000)]
    {
        let series = (0..series_count)
            .map(|index| SeriesEntry {
                name: format!("host.web1.metric.{index}").into_bytes(),
                format: "F".into(),
                ..SeriesEntry::default()
            })
            .collect();
        let lane = LaneBatch {
            next: dots as u64,
            runs: vec![Run { dots: dots as u32, clock: true }],
            series: (0..dots as u32).map(|dot| dot % series_count).collect(),
            times: (0..dots as u64).map(|dot| 1_710_504_000_000_000_000 + dot * step_ns).collect(),
            words: (0..dots).map(|dot| (dot as f64).to_bits()).collect(),
            rows: Rows::default(),
            ..LaneBatch::default()
        };
        let message = Message::Batch(Batch { series, lanes: vec![lane], ..Batch::default() });
        let mut bytes = Vec::new();
        let encode = median(|| message.encode(black_box(&mut bytes)));
        let decode = median(|| drop(black_box(Message::decode(black_box(&bytes)).expect("valid"))));
        let rate = |time: Duration| dots as f64 / time.as_secs_f64() / 1e6;
        println!(
            "{what}: {:.1} bytes a dot, encode {:.0} M dots/s, decode {:.0} M dots/s",
            bytes.len() as f64 / dots as f64,
            rate(encode),
            rate(decode)
        );
    }
}

/// The middle of 201 runs.
fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..201)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}
