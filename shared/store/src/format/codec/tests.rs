//! Every tag of every column: there and back, sizes, and bytes that make no sense.

use proptest::prelude::*;

use crate::format::codec::{DOTS_MAX, GROUP, Span, numbers, texts, times};

/// Tags tried on rubbish: all that exist and some that do not.
const TAGS: std::ops::Range<u8> = 0..12;

const LETTERS: &[u8; 6] = b"fFuUiI";

/// A word that `letter` can hold, made of any.
fn narrowed(letter: u8, word: u64) -> u64 {
    match letter {
        b'f' | b'u' => word as u32 as u64,
        b'i' => word as i32 as i64 as u64,
        _ => word,
    }
}

/// Encodes, decodes behind something that is there already, compares; tag and bytes.
fn check_times(stamps: &[u64]) -> (u8, Vec<u8>) {
    let mut bytes = vec![0xAA];
    let tag = times::encode(stamps, &mut bytes);
    let bytes = bytes.split_off(1);
    let mut back = vec![7];
    let first =
        times::decode(tag, &bytes, stamps.len(), Span::default(), &mut back).expect("what was encoded");
    assert_eq!((first, back[0], &back[1..]), (0, 7, stamps));
    let at = |part: usize| stamps[part * (stamps.len() - 1) / 4];
    let ends =
        [0, stamps[0], stamps[0].saturating_add(1), at(1), at(2), at(2).saturating_add(1), at(3), u64::MAX];
    for (from, until) in ends.iter().flat_map(|from| ends.map(|until| (*from, Some(until)))) {
        for until in [until, None] {
            let span = Span { from, until };
            let mut some = vec![7];
            let first = times::decode(tag, &bytes, stamps.len(), span, &mut some).expect("a part of it");
            let (some, wanted) = (&some[1..], span.of(stamps));
            assert_eq!(some, &stamps[first..first + some.len()], "tag {tag}, {span:?}");
            assert!(
                wanted.is_empty() || first <= wanted.start && wanted.end <= first + some.len(),
                "tag {tag}, {span:?}"
            );
            // All that is not in the groups of what is wanted is left out, but for one.
            assert!(some.len() <= wanted.len() + 3 * GROUP, "tag {tag}, {span:?}: {}", some.len());
        }
    }
    (tag, bytes)
}

fn check_numbers(letter: u8, words: &[u64]) -> (u8, Vec<u8>) {
    let mut bytes = vec![0xAA];
    let tag = numbers::encode(letter, words, &mut bytes);
    let bytes = bytes.split_off(1);
    let mut back = vec![7];
    numbers::decode(letter, tag, &bytes, words.len(), &mut back).expect("what was encoded");
    assert_eq!((back[0], &back[1..]), (7, words), "letter {}", letter as char);
    let len = words.len();
    let parts =
        [(0, 1), (1, 2), (1, 128), (127, 130), (0, 256), (257, 1023), (1024, 1025), (1025, 3000), (1, len)];
    for (from, until) in parts.into_iter().chain([(len / 3, len / 2), (len / 2, len), (len - 1, len), (0, 0)])
    {
        let (from, until) = (from.min(len), until.min(len));
        let mut part = vec![7];
        numbers::decode_part(letter, tag, &bytes, len, from..until, &mut part).expect("a part of it");
        assert_eq!((part[0], &part[1..]), (7, &words[from..until]), "{} tag {tag}", letter as char);
    }
    let width = if b"fui".contains(&letter) { 4 } else { 8 };
    assert!(bytes.len() <= words.len() * width, "{} bytes", bytes.len());
    (tag, bytes)
}

fn check_texts(rows: &[&[u8]]) -> (u8, Vec<u8>) {
    let mut bytes = vec![0xAA];
    let tag = texts::encode(rows, &mut bytes);
    let bytes = bytes.split_off(1);
    let (mut lens, mut heap) = (vec![7], vec![7]);
    texts::decode(tag, &bytes, rows.len(), &mut lens, &mut heap).expect("what was encoded");
    assert_eq!((lens[0], heap[0]), (7, 7));
    let mut rest = &heap[1..];
    for (row, len) in rows.iter().zip(&lens[1..]) {
        let (text, after) = rest.split_at(*len as usize);
        assert_eq!(text, *row);
        rest = after;
    }
    assert!(rest.is_empty() && lens.len() == rows.len() + 1);
    (tag, bytes)
}

fn doubles(values: impl IntoIterator<Item = f64>) -> Vec<u64> {
    values.into_iter().map(f64::to_bits).collect()
}

/// The same numbers each time, without a pattern.
fn noise(count: u64) -> impl Iterator<Item = u64> {
    (1..=count).map(|n| {
        let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    })
}

#[test]
fn times_come_back() {
    let s = 1_000_000_000;
    for stamps in [
        vec![0],
        vec![u64::MAX],
        vec![0, u64::MAX],
        vec![0, 0, u64::MAX, u64::MAX],
        vec![5; 8192],
        vec![0, 1, 3, u64::MAX - 1],
        vec![0, 1 << 63, u64::MAX],
        (0..8192).map(|n| n * (u64::MAX / 8192)).collect(),
        (0..4096).map(|n| 1_790_000_000 * s + n * 10 * s).collect(),
    ] {
        check_times(&stamps);
    }
    let mut any: Vec<u64> = noise(5000).collect();
    any.sort_unstable();
    check_times(&any);
}

#[test]
fn times_cost_what_they_surprise() {
    let ms = 1_000_000;
    let start = 1_790_000_000_000 * ms;
    let size = |stamps: &[u64]| check_times(stamps).1.len();
    let steps: Vec<u64> = (0..4096).map(|n| start + n * 10_000 * ms).collect();
    assert!(size(&steps) < 20);
    let mut gap = steps.clone();
    gap[2000..].iter_mut().for_each(|time| *time += 3_600_000 * ms);
    assert!(size(&gap) < 130, "one gap: {}", size(&gap));
    let late: Vec<u64> = steps.iter().zip(noise(4096)).map(|(time, noise)| time + noise % 32 * ms).collect();
    assert!(size(&late) <= 4096 * 5 / 8 + 130, "5 bits of jitter: {}", size(&late));
}

#[test]
fn numbers_that_lie_in_wait_come_back() {
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f64::NAN,
        -f64::NAN,
        f64::from_bits(0x7FF0_0000_0000_0001),
        f64::from_bits(0xFFF8_0000_DEAD_BEEF),
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        5e-324,
        f64::MAX,
        f64::MIN,
        9_007_199_254_740_991.0,
        9_007_199_254_740_993.0,
        2_251_799_813_685_248.0,
        -2_251_799_813_685_247.5,
        0.1,
        0.3,
        1e-15,
        1e22,
        98.76,
    ];
    for letter in *LETTERS {
        let narrow = |words: &[u64]| words.iter().map(|word| narrowed(letter, *word)).collect::<Vec<_>>();
        for len in [1, 2, 23, 100, 255, 256, 300, 4096, 8192] {
            let cycle: Vec<u64> = doubles(special.iter().copied().cycle().take(len));
            check_numbers(letter, &narrow(&cycle));
            let singles: Vec<u64> =
                special.iter().cycle().take(len).map(|value| (*value as f32).to_bits() as u64).collect();
            check_numbers(letter, &narrow(&singles));
            let extremes: Vec<u64> =
                [0, u64::MAX, i64::MIN as u64, i64::MAX as u64, i32::MIN as i64 as u64, 1]
                    .into_iter()
                    .cycle()
                    .take(len)
                    .collect();
            check_numbers(letter, &narrow(&extremes));
            let huge_small: Vec<u64> = doubles((0..len).map(|n| if n % 2 == 0 { 1e300 } else { 1e-300 }));
            check_numbers(letter, &narrow(&huge_small));
            check_numbers(letter, &narrow(&noise(len as u64).collect::<Vec<_>>()));
            check_numbers(letter, &narrow(&(0..len as u64).map(|n| n * n * 4096).collect::<Vec<_>>()));
        }
    }
}

/// Decimals with a few numbers among them that are none.
#[test]
fn a_gauge_with_gaps_stays_a_gauge() {
    let mut values: Vec<f64> = noise(4096).map(|noise| (noise % 1000) as f64 / 100.0).collect();
    let (_, plain) = check_numbers(b'F', &doubles(values.clone()));
    for place in (0..4096).step_by(400) {
        values[place] = f64::from_bits(0x7FF8_0000_0000_0000 + place as u64);
    }
    values[17] = -0.0;
    let (_, gaps) = check_numbers(b'F', &doubles(values));
    assert!(gaps.len() < plain.len() + 12 * 11 + 200, "{} and {}", plain.len(), gaps.len());
}

#[test]
fn numbers_cost_what_they_surprise() {
    let size = |letter: u8, words: &[u64]| check_numbers(letter, words).1.len();
    for letter in *LETTERS {
        assert!(size(letter, &[7; 8192]) <= 8);
        let counter: Vec<u64> = match letter {
            b'f' => (0..4096).map(|n| (n as f32 * 17.0).to_bits() as u64).collect(),
            b'F' => doubles((0..4096).map(|n| n as f64 * 17.0)),
            _ => (0..4096).map(|n| n * 17).collect(),
        };
        let len = size(letter, &counter);
        assert!(len < 120, "an even counter of {}: {len}", letter as char);
    }
    let cents = doubles(noise(4096).map(|noise| (noise % 128) as f64 / 100.0));
    assert!(size(b'F', &cents) <= 4096 * 7 / 8 + 120);
    let short = doubles(noise(100).map(|noise| (noise % 128) as f64 / 100.0));
    assert!(size(b'F', &short) <= 88 + 12);
    let pages: Vec<u64> = noise(4096).map(|noise| (noise % 64) * 4096).collect();
    assert!(size(b'U', &pages) <= 4096 * 6 / 8 + 120);
    let singles: Vec<u64> =
        noise(4096).map(|noise| ((noise % 1000) as f32 / 10.0).to_bits() as u64).collect();
    assert!(size(b'f', &singles) <= 4096 * 10 / 8 + 160, "{}", size(b'f', &singles));
}

#[test]
fn texts_come_back_and_cost_what_they_surprise() {
    let size = |rows: &[&[u8]]| check_texts(rows).1.len();
    assert_eq!(size(&[b"ready".as_slice(); 8192]), 5);
    assert_eq!(size(&[b"".as_slice(); 3]), 0);
    check_texts(&[b"", b"a", b""]);
    check_texts(&[&[0xFF, 0xFE], b"\0", &[b'x'; 1 << 20]]);
    let states: Vec<&[u8]> =
        noise(4096).map(|noise| [&b"up"[..], b"down", b"gone"][noise as usize % 3]).collect();
    assert!(size(&states) < 4096 * 2 / 8 + 140, "{}", size(&states));
    let lines: Vec<String> =
        noise(4096).map(|noise| format!("took {} ms, status {}", noise % 9, noise)).collect();
    let rows: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
    assert!(size(&rows) < rows.concat().len() / 2);
    // Two large blocks and the end of a third; empty texts at both ends.
    let large: Vec<Vec<u8>> = noise(300).map(|noise| vec![noise as u8; 1000]).collect();
    let mut rows: Vec<&[u8]> = vec![b""];
    rows.extend(large.iter().map(|row| &row[..]));
    rows.push(b"");
    check_texts(&rows);
}

#[test]
fn digits_in_texts_come_back_as_they_were_written() {
    let odd = [
        "0",
        "00",
        "007",
        "7",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999999999",
        "999999999999999999",
        "1000000000000000000",
        "-5",
        "1.50",
        "",
        "\u{1}",
        "a\u{1}\u{2}b",
        "\u{2}9",
        "é3é",
    ];
    let lines: Vec<String> = noise(2000)
        .map(|noise| format!("n={} {}", noise % 50, odd[noise as usize / 64 % odd.len()]))
        .collect();
    let rows: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
    check_texts(&rows);
    check_texts(&rows[..20]);
}

/// Written by hand, after FORMAT.md.
#[test]
fn bytes_as_the_format_states_them_are_read() {
    let stamps = |tag: u8, bytes: &[u8], expected: &[u64]| {
        let mut out = Vec::new();
        assert_eq!(
            times::decode(tag, bytes, expected.len(), Span::default(), &mut out),
            Some(0),
            "tag {tag}"
        );
        assert_eq!(out, expected);
    };
    stamps(0, &[100, 10], &[100, 110, 120]);
    stamps(1, &[100, 5, 2, 2, 0, 0b0001], &[100, 115, 120]);
    stamps(2, &[100, 5, 0x80, 4, 1, 1, 16], &[100, 110, 160, 170]);

    let words = |letter: u8, tag: u8, bytes: &[u8], expected: &[u64]| {
        let mut out = Vec::new();
        let decoded = numbers::decode(letter, tag, bytes, expected.len(), &mut out);
        assert_eq!(decoded, Some(()), "letter {} tag {tag}", letter as char);
        assert_eq!(out, expected);
    };
    words(b'i', 0, &[0xFE, 0xFF, 0xFF, 0xFF], &[-2_i64 as u64; 3]);
    words(b'u', 1, &[1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF], &[1, u32::MAX as u64]);
    words(b'i', 2, &[1, 3, 1, 2, 0b10], &[-1_i64 as u64, 2, 5]);
    words(b'F', 3, &[0, 1, 0, 1], &doubles([0.0, -0.0]));
    let mut decimals = vec![2, 1, 1];
    decimals.extend_from_slice(&f64::INFINITY.to_le_bytes());
    decimals.extend_from_slice(&[0xAC, 0x02, 1, 0, 10]);
    words(b'F', 6, &decimals, &doubles([1.5, f64::INFINITY, 1.6]));

    // Of a block, the number in lane 3 of row 5.
    let mut block = vec![0, 7, 66, 0];
    block.extend_from_slice(&[0; 128]);
    block[4 + 3 * 8] = 1 << 5;
    let mut expected = vec![0; 1025];
    expected[1 + 5 * 16 + 3] = 7;
    words(b'u', 2, &block, &expected);
    // A leader counts, whatever stands before it: a block of ones, then a frame of one.
    let mut even: Vec<u64> = (0..1025).map(|n| n * 2).collect();
    even.push(20);
    words(b'u', 3, &[0, 2, 20, 65, 2, 0, 1], &even);
    words(b'u', 8, b"\x02\0\x08\x01\0\0\0\0\0\0\0\x01\x05\0\0\0\x09\0\0\0", &[5, 5, 9, 9]);

    let rows = |tag: u8, bytes: &[u8], expected: &[&str]| {
        let (mut lens, mut heap) = (Vec::new(), Vec::new());
        assert_eq!(texts::decode(tag, bytes, expected.len(), &mut lens, &mut heap), Some(()), "tag {tag}");
        assert!(texts::split(&lens, &heap).eq(expected.iter().map(|text| text.as_bytes())));
    };
    rows(0, b"on", &["on", "on"]);
    rows(1, b"\x02\x04\x08updown", &["up", "down"]);
    rows(2, b"\x01\0\x02\x02\x01\x02\x04\x08updown", &["up", "down", "up"]);
    let templates = b"\0\x08\0\0\0\0\0\0\0\0\x01\x02\x04\x0E\x05\0\x02\x01\x01\0\x0Cn=\x01\x03 s";
    rows(4, templates, &["n=007 s", "n=012 s"]);
}

/// Bytes a little off what a column of each tag looks like.
#[test]
fn spoiled_bytes_never_panic() {
    let gauge = doubles(noise(600).scan(5000.0, |cents, noise| {
        *cents += (noise % 101) as f64 - 50.0;
        Some(*cents / 100.0)
    }));
    let smooth = doubles((0..600).map(|n| (n as f64 / 40.0).sin()));
    let mut gaps = gauge.clone();
    gaps[5] = f64::NAN.to_bits();
    let steps: Vec<u64> = noise(600).map(|noise| noise % 7 * 4096).collect();
    let cents = doubles(noise(600).map(|noise| (noise % 1000) as f64 / 100.0));
    let rare =
        doubles(noise(4096).map(|noise| if noise % 9 == 0 { (noise % 4000) as f64 / 10.0 } else { 1.5 }));
    let squares: Vec<u64> = (0..600).map(|n| n * n).collect();
    let slow: Vec<u64> = (0..2000).map(|n| n / 9 % 7 * (n / 50)).collect();
    let mut tags = [0_u32; 3];
    let mut spoil = |column: usize, tag: u8, bytes: &[u8], decode: &mut dyn FnMut(&[u8])| {
        tags[column] |= 1 << tag;
        for noise in noise(400) {
            let place = (noise >> 32) as usize % bytes.len();
            let mut spoiled = bytes.to_vec();
            spoiled[place] ^= noise as u8;
            decode(&spoiled);
            decode(&spoiled[..place]);
        }
    };
    for words in [
        &gauge,
        &smooth,
        &gaps,
        &steps,
        &cents,
        &rare,
        &squares,
        &gauge[..90].to_vec(),
        &smooth[..90].to_vec(),
        &slow,
    ] {
        for letter in *LETTERS {
            let words: Vec<u64> = words.iter().map(|word| narrowed(letter, *word)).collect();
            let (tag, bytes) = check_numbers(letter, &words);
            spoil(1, tag, &bytes, &mut |bytes| {
                let mut out = Vec::new();
                let decoded = numbers::decode(letter, tag, bytes, words.len(), &mut out);
                assert_eq!(out.len(), if decoded.is_some() { words.len() } else { 0 });
                let mut part = Vec::new();
                let (count, wanted) = (words.len(), words.len() / 3..words.len() / 2);
                let part_decoded = numbers::decode_part(letter, tag, bytes, count, wanted.clone(), &mut part);
                assert_eq!(part.len(), if part_decoded.is_some() { wanted.len() } else { 0 });
                assert!(decoded.is_none() || part == out[wanted], "a part of what is whole");
            });
        }
    }
    let late = |unit: u64, jitter: u64| {
        let mut stamps: Vec<u64> = (0..600)
            .zip(noise(600))
            .map(|(n, noise)| 1_790_000_000_000 + n * 1000 + noise % jitter * unit)
            .collect();
        stamps.sort_unstable();
        stamps
    };
    let mut gap = late(1, 1);
    gap[300..].iter_mut().for_each(|time| *time += 77_777);
    for stamps in [late(1, 32), late(1, 3), late(10, 1000), late(1, 1), gap] {
        let (tag, bytes) = check_times(&stamps);
        spoil(0, tag, &bytes, &mut |bytes| {
            let mut out = Vec::new();
            let decoded = times::decode(tag, bytes, 600, Span::default(), &mut out);
            assert_eq!(out.len(), if decoded.is_some() { 600 } else { 0 });
            assert!(out.is_sorted());
        });
    }
    let lines = |make: &dyn Fn(u64) -> String| noise(600).map(make).collect::<Vec<_>>();
    for lines in [
        lines(&|noise| ["up", "down"][noise as usize % 2].to_owned()),
        lines(&|noise| format!("took {} ms", noise % 9)),
        lines(&|noise| format!("{noise:x}-{noise:b}")),
        lines(&|noise| format!("request {} took {:03} ms", noise % 100_000, noise % 500)),
        lines(&|_| "same".to_owned()),
    ] {
        let rows: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        let (tag, bytes) = check_texts(&rows);
        spoil(2, tag, &bytes, &mut |bytes| {
            let (mut lens, mut heap) = (Vec::new(), Vec::new());
            let decoded = texts::decode(tag, bytes, 600, &mut lens, &mut heap);
            assert_eq!(lens.len(), if decoded.is_some() { 600 } else { 0 });
            assert_eq!(heap.len(), lens.iter().map(|len| *len as usize).sum());
        });
    }
    assert_eq!(tags, [0b1_1111, 0b1_1111_1110, 0b1_1101], "tags seen: {tags:?}");
}

proptest! {
    #[test]
    fn any_times_come_back(mut stamps in prop::collection::vec(any::<u64>(), 1..600), bits in 0..64_u32) {
        stamps.iter_mut().for_each(|time| *time >>= bits);
        stamps.sort_unstable();
        check_times(&stamps);
    }

    #[test]
    fn any_words_come_back(words in prop::collection::vec(any::<u64>(), 1..600), bits in 0..64_u32, sum in any::<bool>()) {
        let mut total = 0_u64;
        let words: Vec<u64> = words
            .iter()
            .map(|word| {
                total = total.wrapping_add(word >> bits);
                if sum { total } else { word >> bits }
            })
            .collect();
        for letter in *LETTERS {
            let words: Vec<u64> = words.iter().map(|word| narrowed(letter, *word)).collect();
            check_numbers(letter, &words);
        }
    }

    #[test]
    fn any_decimals_come_back(
        wholes in prop::collection::vec(any::<i64>(), 1..600),
        bits in 0..63_u32,
        exponent in 0..17_i32,
    ) {
        let values: Vec<f64> = wholes.iter().map(|whole| (whole >> bits) as f64 / 10_f64.powi(exponent)).collect();
        check_numbers(b'F', &doubles(values.iter().copied()));
        check_numbers(b'f', &values.iter().map(|value| (*value as f32).to_bits() as u64).collect::<Vec<_>>());
    }

    #[test]
    fn any_texts_come_back(rows in prop::collection::vec("[0-9a\u{1}\u{2}. é]{0,12}", 1..300)) {
        check_texts(&rows.iter().map(|row| row.as_bytes()).collect::<Vec<_>>());
    }

    #[test]
    fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), count in 0..DOTS_MAX + 2) {
        for tag in TAGS {
            let mut out = Vec::new();
            let decoded = times::decode(tag, &bytes, count, Span::default(), &mut out);
            prop_assert_eq!(out.len(), if decoded.is_some() { count } else { 0 });
            for letter in *LETTERS {
                let mut out = Vec::new();
                let decoded = numbers::decode(letter, tag, &bytes, count, &mut out);
                prop_assert_eq!(out.len(), if decoded.is_some() { count } else { 0 });
            }
            let (mut lens, mut heap) = (Vec::new(), Vec::new());
            let decoded = texts::decode(tag, &bytes, count, &mut lens, &mut heap);
            prop_assert_eq!(lens.len(), if decoded.is_some() { count } else { 0 });
            prop_assert!(heap.len() <= texts::HEAP_BYTES_MAX);
        }
        prop_assert!(numbers::decode(b's', 0, &bytes, count, &mut Vec::new()).is_none());
    }

    /// A pco header in front, so that what follows is looked at.
    #[test]
    fn rubbish_in_pco_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), count in 256..DOTS_MAX) {
        // One page: of more than 1,024 numbers that is said.
        let before: &[u8] = if count > GROUP { &[3, 4, 1] } else { &[4, 1] };
        for letter in *LETTERS {
            let widths: &[u8] = if b"fF".contains(&letter) { &[0] } else { &[2, 4, 8] };
            for width in widths {
                let head = if *width == 0 { vec![] } else { vec![1, *width] };
                for modes in [None, Some(0x00), Some(0x10), Some(0x02), Some(0x03), Some(0x01), Some(0x20), Some(0x30), Some(0x04)] {
                    let pco = [&head, before, modes.as_slice(), &bytes].concat();
                    let _ = numbers::decode(letter, 4, &pco, count, &mut Vec::new());
                }
            }
        }
    }
}
