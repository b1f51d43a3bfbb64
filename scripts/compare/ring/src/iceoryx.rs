//! iceoryx2: samples in shared memory, for subscribers in other processes.

use std::error::Error;
use std::path::Path as FilePath;

use iceoryx2::prelude::*;

use crate::measure::{Row, black_box, repeat, timed};

/// What a subscriber holds before its oldest sample is overwritten.
const SAMPLES: usize = 4096;

pub(crate) fn rows(dir: &FilePath) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut config = Config::default();
    let root = dir.join("iceoryx2");
    std::fs::create_dir(&root)?;
    let root = root.to_str().ok_or("the temporary directory has a name that is not UTF-8")?;
    config.global.set_root_path(&Path::new(root.as_bytes())?);
    let node = NodeBuilder::new().config(&config).create::<ipc::Service>()?;
    // Series, time, value.
    let service = node
        .service_builder(&"compare".try_into()?)
        .publish_subscribe::<[u64; 3]>()
        .enable_safe_overflow(true)
        .subscriber_max_buffer_size(SAMPLES)
        .create()?;
    let subscriber = service.subscriber_builder().buffer_size(SAMPLES).create()?;
    let publisher = service.publisher_builder().create()?;
    let what = "time given; loan, write, send; overwrites the oldest";
    Ok(vec![Row::new("iceoryx2 publish_subscribe, one subscriber", what, move || {
        // All of them live as long as the publisher.
        black_box((&node, &service, &subscriber));
        timed(|| {
            repeat(|n| {
                let sample = publisher.loan_uninit().expect("the one before was given back");
                let sample = sample.write_payload([
                    black_box(7),
                    black_box(1_795_000_000 + n),
                    black_box(n as f64).to_bits(),
                ]);
                assert_eq!(sample.send().ok(), Some(1), "the subscriber is there");
            });
        })
    })])
}
