//! The series of a host as node_exporter shows them, made from a seed.
//!
//! How the mix was chosen: node_exporter 1.5 of a machine with 2 cores was scraped 45 times, 5 s apart, and its 507
//! series were counted by how they move. 66 % never changed (41 % were 0), 10 % moved in fewer than half of the
//! scrapes, and the others in most of them: 9 % how long each collector took, 7 % gauges of bytes, 5 % whole counters,
//! 4 % seconds of processors and disks, three loads. A server has more processors, disks and services: a host has 800
//! series here, of which a little more move, and two histograms of a service are added, which node_exporter has not.
//! Its arithmetic is kept: seconds of processors are hundredths divided, seconds of disks are thousandths multiplied,
//! so the last bits of these differ from those of the nearest decimal.

use crate::work::Random;

/// Series of a host.
pub(crate) const SERIES: u32 = 800;

/// How the values of a series come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Motion {
    /// Always 0: errors, modes of a processor that nobody uses.
    Zero,
    /// Always the same whole number: sizes, versions, limits.
    Constant,
    /// A counter that moves by 1 to 3 in one scrape of so many.
    Rare(u8),
    /// A counter that moves with each scrape: bytes, packets, interrupts, context switches.
    Counter,
    /// Seconds of a processor in one mode: hundredths, at most 10 s a scrape.
    Processor,
    /// Seconds of a disk: thousandths.
    Disk,
    /// Bytes of memory in pages of 4 KiB, up and down.
    Memory,
    /// Load: two decimals, a moving average.
    Load,
    /// A temperature: halves of a degree.
    Temperature,
    /// How long a collector took: whole nanoseconds as seconds, each scrape anew.
    Duration,
    /// One bucket of a histogram: it holds this part of the observations, in percent.
    Bucket(u8),
    /// The sum of a histogram's observations: seconds with all digits.
    Sum,
}

/// How many series of a host move how, and what their names begin with.
const MIX: &[(u32, Motion, &str)] = &[
    (200, Motion::Zero, "node_netstat_errors_total"),
    (130, Motion::Zero, "node_network_carrier_changes_total"),
    (170, Motion::Constant, "node_filesystem_size_bytes"),
    (40, Motion::Rare(50), "node_disk_flush_requests_total"),
    (30, Motion::Rare(4), "node_vmstat_pgmajfault"),
    (50, Motion::Counter, "node_network_receive_bytes_total"),
    (40, Motion::Processor, "node_cpu_seconds_total"),
    (16, Motion::Disk, "node_disk_io_time_seconds_total"),
    (42, Motion::Memory, "node_memory_bytes"),
    (6, Motion::Load, "node_load"),
    (4, Motion::Temperature, "node_hwmon_temp_celsius"),
    (48, Motion::Duration, "node_scrape_collector_duration_seconds"),
    (2, Motion::Bucket(5), "service_seconds_bucket_le_0_005"),
    (2, Motion::Bucket(30), "service_seconds_bucket_le_0_01"),
    (2, Motion::Bucket(60), "service_seconds_bucket_le_0_025"),
    (2, Motion::Bucket(80), "service_seconds_bucket_le_0_05"),
    (2, Motion::Bucket(92), "service_seconds_bucket_le_0_1"),
    (2, Motion::Bucket(97), "service_seconds_bucket_le_0_25"),
    (2, Motion::Bucket(99), "service_seconds_bucket_le_0_5"),
    (2, Motion::Bucket(100), "service_seconds_bucket_le_1"),
    (2, Motion::Bucket(100), "service_seconds_bucket_le_inf"),
    (2, Motion::Bucket(100), "service_seconds_count"),
    (4, Motion::Sum, "service_seconds_sum"),
];

/// Names and motions of a host's series, sorted by name; each name goes behind the host's prefix.
pub(crate) fn host() -> Vec<(String, Motion)> {
    let mut all = Vec::new();
    for (count, motion, stem) in MIX {
        all.extend((0..*count).map(|of| (format!("{stem}_{of:03}"), *motion)));
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(all.len(), SERIES as usize, "the mix is one of all series of a host");
    all
}

/// The values of one series.
pub(crate) struct Values {
    random: Random,
    motion: Motion,
    /// In the unit of the motion.
    whole: i64,
    /// What a counter moves by on average; what a gauge stays near.
    usual: i64,
    sum: f64,
}

impl Values {
    pub(crate) fn new(number: u64, motion: Motion) -> Values {
        // Other numbers than those of the series of the other workloads.
        let mut random = Random(number ^ 0x6E6F_6465 << 32);
        let (whole, usual) = match motion {
            Motion::Zero => (0, 0),
            Motion::Constant => (constant(&mut random), 0),
            Motion::Rare(_) => (random.below(10_000) as i64, 0),
            // From some events to some megabytes a scrape.
            Motion::Counter => (random.below(1 << 40) as i64, 1 << random.below(22)),
            Motion::Processor => {
                (random.below(100_000_000) as i64, [3, 10, 60, 900][random.below(4) as usize])
            }
            Motion::Disk => (random.below(10_000_000) as i64, 1 + random.below(200) as i64),
            Motion::Memory => {
                let pages = 1 << (8 + random.below(13));
                (pages, pages)
            }
            Motion::Load => (50 + random.below(300) as i64, 0),
            Motion::Temperature => (90, 90),
            Motion::Duration => (0, 20_000 << random.below(8)),
            Motion::Bucket(_) | Motion::Sum => (random.below(1_000_000) as i64, 200),
        };
        Values { random, motion, whole, usual, sum: whole as f64 / 64.0 }
    }

    pub(crate) fn next(&mut self) -> f64 {
        let Values { random, whole, usual, .. } = self;
        // Between nothing and twice the usual, more often near it.
        let mut around =
            |usual: i64| (random.below(usual as u64 + 1) + random.below(usual as u64 + 1)) as i64;
        match self.motion {
            Motion::Zero | Motion::Constant => *whole as f64,
            Motion::Rare(scrapes) => {
                if random.below(scrapes.into()) == 0 {
                    *whole += 1 + random.below(3) as i64;
                }
                *whole as f64
            }
            Motion::Counter => {
                *whole += around(*usual);
                *whole as f64
            }
            Motion::Processor => {
                *whole += around(*usual / 2).min(1_000);
                *whole as f64 / 100.0
            }
            Motion::Disk => {
                *whole += around(*usual);
                *whole as f64 * 0.001
            }
            Motion::Memory => {
                // Back towards what is usual, and a step of up to 64 pages in half of the scrapes.
                *whole -= (*whole - *usual) / 64;
                if random.below(2) == 0 {
                    *whole = (*whole + random.below(129) as i64 - 64).max(0);
                }
                (*whole * 4_096) as f64
            }
            Motion::Load => {
                // The average of the last scrapes, of a load between 0 and 4.
                *whole = (*whole * 15 + random.below(401) as i64 + 8) / 16;
                *whole as f64 / 100.0
            }
            Motion::Temperature => {
                *whole += random.below(3) as i64 - 1 - (*whole - *usual) / 8;
                *whole as f64 / 2.0
            }
            Motion::Duration => (*usual / 2 + around(*usual / 4) + *usual / 4) as f64 / 1e9,
            Motion::Bucket(percent) => {
                *whole += around(*usual * i64::from(percent) / 100);
                *whole as f64
            }
            Motion::Sum => {
                self.sum += *usual as f64 * random.unit() / 40.0;
                self.sum
            }
        }
    }
}

/// Flags, small numbers, and sizes in bytes, equal shares.
fn constant(random: &mut Random) -> i64 {
    match random.below(3) {
        0 => 1,
        1 => random.below(5_000) as i64,
        _ => (random.below(1 << 28) << 12) as i64,
    }
}
