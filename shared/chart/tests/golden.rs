//! Compares a chart with the one kept beside it. `DOTTER_BLESS=1` writes it anew; look at it before you keep it.

use std::path::Path;

use dotter_chart::{Chart, Line, Theme};

#[test]
fn a_chart_looks_as_the_one_kept() {
    let noon = 1_710_504_000.0;
    let wave = |phase: f64| -> Vec<(f64, f64)> {
        (0..60).map(|n| (noon + f64::from(n), (f64::from(n) / 9.0 + phase).sin() * 1500.0 + 2000.0)).collect()
    };
    let mut broken = wave(2.0);
    broken.drain(20..30);
    for (theme, file) in [(Theme::Light, "light.svg"), (Theme::Dark, "dark.svg")] {
        let lines = vec![
            Line { name: "servers.web01.requests", dots: wave(0.0), gap: 2.2 },
            Line { name: "servers.web02.requests", dots: broken.clone(), gap: 2.2 },
        ];
        let svg = Chart {
            width: 480,
            height: 240,
            title: "requests a second",
            range: (noon, noon + 60.0),
            offset: 0,
            lines,
            theme,
        }
        .svg();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
        if std::env::var_os("DOTTER_BLESS").is_some() {
            std::fs::write(&path, &svg).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(kept == svg, "{file} differs; DOTTER_BLESS=1 writes the new one");
    }
}
