//! One look at /proc after the other: gauges as they are, counters as what they gained per second.
//!
//! Always true: what cannot be read or makes no sense is left out, and costs nothing else its place.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::protocols;
use super::reading::Reading;

/// Sectors of /proc/diskstats, whatever the disk's own are.
const SECTOR_BYTES: u64 = 512;
/// Processor modes in /proc/stat, in order.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

/// Looks at /proc and remembers the last look.
pub(super) struct Sampler {
    proc: PathBuf,
    sys: PathBuf,
    /// Processor times at the last look, by `cpu`, `cpu.0`, ...
    modes: HashMap<String, [u64; MODES.len()]>,
    /// Counters at the last look.
    counters: HashMap<String, u64>,
    last: Option<Instant>,
}

/// What one look found.
struct Look<'a> {
    readings: Vec<Reading>,
    before: &'a HashMap<String, u64>,
    now: HashMap<String, u64>,
    /// Since the last look.
    seconds: Option<f64>,
}

impl Look<'_> {
    fn gauge(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        self.readings.push(Reading { name: name.into(), unit, value });
    }

    /// What a counter gained per second; nothing at the first look, or where it went backwards.
    fn rate(&mut self, name: String, unit: &'static str, count: u64) {
        let gained = self.before.get(&name).and_then(|before| count.checked_sub(*before));
        if let Some((gained, seconds)) = gained.zip(self.seconds) {
            self.gauge(name.clone(), unit, gained as f64 / seconds);
        }
        self.now.insert(name, count);
    }
}

impl Sampler {
    pub(super) fn new(proc: PathBuf, sys: PathBuf) -> Sampler {
        Sampler { proc, sys, modes: HashMap::new(), counters: HashMap::new(), last: None }
    }

    /// The machine's name as one part of a series name.
    pub(super) fn host_name(&self) -> String {
        let name = one_part(self.read("sys/kernel/hostname").trim());
        if name.is_empty() { "localhost".into() } else { name }
    }

    /// Everything there is to say at `now`.
    pub(super) fn sample(&mut self, now: Instant) -> Vec<Reading> {
        let seconds = self.last.map(|last| now.saturating_duration_since(last).as_secs_f64());
        let mut look = Look {
            readings: Vec::new(),
            before: &self.counters,
            now: HashMap::new(),
            seconds: seconds.filter(|seconds| *seconds > 0.0),
        };
        let modes = self.processors(&mut look);
        self.load(&mut look);
        self.memory(&mut look);
        self.disks(&mut look);
        self.interfaces(&mut look);
        for file in ["net/snmp", "net/netstat"] {
            look.readings.extend(protocols::readings(&self.read(file)));
        }
        let Look { readings, now: counters, .. } = look;
        (self.modes, self.counters, self.last) = (modes, counters, Some(now));
        readings
    }

    /// A file of /proc; empty where there is none.
    fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.proc.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Percent of the time since the last look that went to each mode, over all processors and for each.
    fn processors(&self, look: &mut Look<'_>) -> HashMap<String, [u64; MODES.len()]> {
        let mut modes = HashMap::new();
        for line in self.read("stat").lines() {
            let mut fields = line.split_ascii_whitespace();
            let Some(first) = fields.next() else { continue };
            let numbers: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
            match (first, first.strip_prefix("cpu"), &numbers[..]) {
                (_, Some(number), [.., _, _, _, _]) => {
                    let name = if number.is_empty() { "cpu".into() } else { format!("cpu.{number}") };
                    // An old kernel has fewer modes: the others took no time.
                    let now = std::array::from_fn(|mode| numbers.get(mode).copied().unwrap_or(0));
                    self.processor(look, &name, now);
                    modes.insert(name, now);
                }
                ("ctxt", _, [count]) => look.rate("system.context_switches".into(), "1/s", *count),
                ("processes", _, [count]) => look.rate("system.forks".into(), "1/s", *count),
                ("procs_running", _, [count]) => look.gauge("processes.running", "", *count as f64),
                ("procs_blocked", _, [count]) => look.gauge("processes.blocked", "", *count as f64),
                _ => {}
            }
        }
        modes
    }

    fn processor(&self, look: &mut Look<'_>, name: &str, now: [u64; MODES.len()]) {
        let Some(before) = self.modes.get(name) else { return };
        // The kernel lets idle time go back a little now and then.
        let gained: Vec<u64> =
            now.iter().zip(before).map(|(now, before)| now.saturating_sub(*before)).collect();
        let total: u64 = gained.iter().sum();
        if total == 0 {
            return;
        }
        for (mode, gained) in MODES.iter().zip(gained) {
            look.gauge(format!("{name}.{mode}"), "%", gained as f64 * 100.0 / total as f64);
        }
    }

    fn load(&self, look: &mut Look<'_>) {
        let text = self.read("loadavg");
        let mut fields = text.split_ascii_whitespace();
        for name in ["load.1m", "load.5m", "load.15m"] {
            if let Some(value) = fields.next().and_then(|field| field.parse().ok()) {
                look.gauge(name, "", value);
            }
        }
        let total =
            fields.next().and_then(|field| field.split_once('/')).and_then(|(_, all)| all.parse().ok());
        if let Some(total) = total {
            look.gauge("processes.total", "", total);
        }
    }

    fn memory(&self, look: &mut Look<'_>) {
        let text = self.read("meminfo");
        let field = |name: &str| -> Option<f64> {
            let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            let kib: u64 = rest.split_ascii_whitespace().next()?.parse().ok()?;
            Some(kib as f64 * 1024.0)
        };
        for (name, key) in [
            ("memory.total", "MemTotal"),
            ("memory.free", "MemFree"),
            ("memory.available", "MemAvailable"),
            ("memory.buffers", "Buffers"),
            ("memory.cached", "Cached"),
            ("memory.dirty", "Dirty"),
            ("memory.shared", "Shmem"),
            ("swap.total", "SwapTotal"),
            ("swap.free", "SwapFree"),
        ] {
            if let Some(bytes) = field(key) {
                look.gauge(name, "B", bytes);
            }
        }
        for (name, all, left) in
            [("memory.used", "MemTotal", "MemAvailable"), ("swap.used", "SwapTotal", "SwapFree")]
        {
            if let Some((all, left)) = field(all).zip(field(left)) {
                look.gauge(name, "B", all - left);
            }
        }
    }

    /// Each disk and partition that was ever used; the total counts whole disks only, and each byte once.
    fn disks(&self, look: &mut Look<'_>) {
        let mut total = [0; 4];
        for line in self.read("diskstats").lines() {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let Some(device) = fields.get(2) else { continue };
            let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
            let (Some(reads), Some(read), Some(writes), Some(written), Some(busy)) =
                (number(3), number(5), number(7), number(9), number(12))
            else {
                continue;
            };
            if reads + writes == 0 {
                continue;
            }
            let counts =
                [reads, read.saturating_mul(SECTOR_BYTES), writes, written.saturating_mul(SECTOR_BYTES)];
            if self.is_whole_disk(device) {
                total.iter_mut().zip(counts).for_each(|(total, count): (&mut u64, u64)| {
                    *total = total.saturating_add(count);
                });
            }
            let name = format!("disk.{}", one_part(device));
            disk_rates(look, &name, counts);
            // Milliseconds of a second: a tenth of that is percent.
            let busy_name = format!("{name}.busy");
            let gained = look.before.get(&busy_name).and_then(|before| busy.checked_sub(*before));
            if let Some((gained, seconds)) = gained.zip(look.seconds) {
                look.gauge(busy_name.clone(), "%", (gained as f64 / seconds / 10.0).min(100.0));
            }
            look.now.insert(busy_name, busy);
        }
        if total != [0; 4] {
            disk_rates(look, "disk", total);
        }
    }

    /// Not a partition of another, not made of others, not in memory.
    fn is_whole_disk(&self, device: &str) -> bool {
        let made = ["loop", "ram", "zram", "dm-", "md", "sr", "fd"];
        let partition = self.sys.join("class/block").join(Path::new(device)).join("partition");
        !made.iter().any(|kind| device.starts_with(kind)) && !partition.exists()
    }

    fn interfaces(&self, look: &mut Look<'_>) {
        for line in self.read("net/dev").lines() {
            let Some((interface, rest)) = line.split_once(':') else { continue };
            let numbers: Vec<u64> =
                rest.split_ascii_whitespace().map_while(|field| field.parse().ok()).collect();
            // Both halves begin with bytes, packets, errors, drops.
            let (Some(received), Some(sent)) = (numbers.get(0..4), numbers.get(8..12)) else { continue };
            if received[1] + sent[1] == 0 {
                continue;
            }
            for (way, counts) in [("in", received), ("out", sent)] {
                let columns = [("bytes", "B/s"), ("packets", "1/s"), ("errors", "1/s"), ("dropped", "1/s")];
                for ((what, unit), count) in columns.into_iter().zip(counts) {
                    let name = format!("net.{}.{way}.{what}", one_part(interface.trim()));
                    look.rate(name, unit, *count);
                }
            }
        }
    }
}

fn disk_rates(look: &mut Look<'_>, name: &str, counts: [u64; 4]) {
    let columns = [("read.ops", "1/s"), ("read.bytes", "B/s"), ("write.ops", "1/s"), ("write.bytes", "B/s")];
    for ((what, unit), count) in columns.into_iter().zip(counts) {
        look.rate(format!("{name}.{what}"), unit, count);
    }
}

/// A text as one part of a dotted name.
fn one_part(text: &str) -> String {
    let part = |c: char| if c.is_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    text.chars().map(part).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    struct Machine {
        dir: tempfile::TempDir,
        sampler: Sampler,
        now: Instant,
    }

    impl Machine {
        fn new() -> Machine {
            let dir = tempfile::tempdir().unwrap();
            let sampler = Sampler::new(dir.path().join("proc"), dir.path().join("sys"));
            Machine { dir, sampler, now: Instant::now() }
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        /// Two seconds pass before each sample.
        fn sample(&mut self) -> HashMap<String, f64> {
            self.now += Duration::from_secs(2);
            let readings = self.sampler.sample(self.now);
            readings.into_iter().map(|reading| (reading.name, reading.value)).collect()
        }
    }

    #[test]
    fn processor_time_is_in_percent_of_what_passed() {
        let mut machine = Machine::new();
        machine
            .write("proc/stat", "cpu  100 0 50 850 0 0 0 0 0 0\ncpu1 1 1 1 1\nctxt 100\nprocs_running 3\n");
        let first = machine.sample();
        assert_eq!(first, HashMap::from([("processes.running".into(), 3.0)]));
        machine.write("proc/stat", "cpu  150 0 50 990 10 0 0 0 0 0\ncpu1 1 1 1 1\nctxt 300\n");
        let second = machine.sample();
        assert_eq!((second["cpu.user"], second["cpu.idle"], second["cpu.iowait"]), (25.0, 70.0, 5.0));
        assert_eq!(second["system.context_switches"], 100.0);
        assert!(!second.contains_key("cpu.1.user"), "no time passed there");
    }

    #[test]
    fn disks_and_interfaces_are_rates_and_the_total_counts_each_disk_once() {
        let mut machine = Machine::new();
        machine.write("sys/class/block/sda1/partition", "1\n");
        let disks = |reads: u64, sectors: u64| {
            let line = |name: &str| format!("8 0 {name} {reads} 0 {sectors} 0 1 0 1 0 0 {reads} 0\n");
            line("sda") + &line("sda1") + &line("dm-0") + "7 0 loop0 0 0 0 0 0 0 0 0 0 0 0\n8 9 short 1\n"
        };
        let net = |bytes: u64| {
            format!("Inter-|\n face |bytes\neth0.5: {bytes} 7 0 0 0 0 0 0 9 9 0 0 0 0 0 0\nx: y\n")
        };
        machine.write("proc/diskstats", &disks(10, 1000));
        machine.write("proc/net/dev", &net(1000));
        machine.sample();
        machine.write("proc/diskstats", &disks(30, 1400));
        machine.write("proc/net/dev", &net(5000));
        let found = machine.sample();
        assert_eq!((found["disk.sda.read.ops"], found["disk.sda1.read.bytes"]), (10.0, 102_400.0));
        assert_eq!((found["disk.read.ops"], found["disk.read.bytes"]), (10.0, 102_400.0));
        assert_eq!(found["disk.sda.busy"], 1.0);
        assert_eq!(found["net.eth0_5.in.bytes"], 2000.0);
        assert!(!found.contains_key("disk.loop0.read.ops"));
        // A counter that begins anew says nothing once.
        machine.write("proc/net/dev", &net(10));
        assert!(!machine.sample().contains_key("net.eth0_5.in.bytes"));
        machine.write("proc/net/dev", &net(30));
        assert_eq!(machine.sample()["net.eth0_5.in.bytes"], 10.0);
    }

    #[test]
    fn memory_is_in_bytes_and_what_is_missing_is_left_out() {
        let mut machine = Machine::new();
        machine.write("proc/meminfo", "MemTotal:  1000 kB\nMemAvailable: 400 kB\nCached: x kB\n");
        machine.write("proc/loadavg", "0.5 1.5 x 1/200 77\n");
        let found = machine.sample();
        assert_eq!((found["memory.total"], found["memory.used"]), (1_024_000.0, 614_400.0));
        assert!(!found.contains_key("memory.cached"));
        assert!(!found.contains_key("swap.used"));
        assert_eq!((found["load.1m"], found["load.5m"]), (0.5, 1.5));
        assert!(!found.contains_key("load.15m"));
        assert_eq!(found["processes.total"], 200.0);
    }

    #[test]
    fn a_machine_without_proc_has_nothing_to_say() {
        let mut machine = Machine::new();
        assert!(machine.sample().is_empty());
        assert_eq!(machine.sampler.host_name(), "localhost");
        machine.write("proc/sys/kernel/hostname", "web1.example.com\n");
        assert_eq!(machine.sampler.host_name(), "web1_example_com");
    }
}
